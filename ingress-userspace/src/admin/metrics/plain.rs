//! From OpenMetrics to the format before it, version 0.0.4, line by line: what a counter is called,
//! the numbers in `le`, and the end.

use std::fmt;

use super::family::ALL;

/// Writes what is OpenMetrics as 0.0.4 to `to`.
pub(super) struct Plain<W> {
    pub(super) to: W,
    /// Of the line that is not complete yet.
    line: String,
}

impl<W: fmt::Write> Plain<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, line: String::new() }
    }

    fn line(&mut self) -> fmt::Result {
        let line = &self.line;
        if line.starts_with('#') {
            return self.comment();
        }
        // OpenMetrics writes bounds as floating-point numbers, 0.0.4 as Go does: `1`, not `1.0`.
        match line.split_once("{le=\"") {
            Some((name, rest)) => {
                let (bound, rest) = rest.split_once('"').unwrap_or((rest, ""));
                let bound = bound.strip_suffix(".0").unwrap_or(bound);
                // Likewise 1e+07 from 10 million on; people's queries have that.
                match bound.parse::<f64>() {
                    Ok(number) if number >= 1e6 && number.is_finite() => {
                        writeln!(self.to, "{name}{{le=\"{}\"{rest}", exponential(number))
                    }
                    _ => writeln!(self.to, "{name}{{le=\"{bound}\"{rest}"),
                }
            }
            None => writeln!(self.to, "{line}"),
        }
    }

    fn comment(&mut self) -> fmt::Result {
        let mut words = self.line.splitn(4, ' ').skip(1);
        let (Some(what), Some(name), rest) = (words.next(), words.next(), words.next()) else {
            return Ok(());
        };
        let family = ALL.iter().find(|family| family.counter().unwrap_or(family.name) == name);
        let name = family.map_or(name, |family| family.name);
        match (what, rest) {
            ("HELP", rest) => writeln!(self.to, "# HELP {name} {}", rest.unwrap_or_default()),
            ("TYPE", rest) => {
                let kind = family.map_or(rest.unwrap_or("untyped"), |family| family.kind.name());
                writeln!(self.to, "# TYPE {name} {kind}")
            }
            _ => Ok(()),
        }
    }
}

/// As Go writes large numbers: `1e+07`, `2.5e+06`.
fn exponential(number: f64) -> String {
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{mantissa}e+{exponent:0>2}"),
        None => text,
    }
}

impl<W: fmt::Write> fmt::Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                None => self.line.push_str(part),
                Some(end) => {
                    self.line.push_str(end);
                    self.line()?;
                    self.line.clear();
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        let mut plain = Plain::new(String::new());
        for text in ["a_bucket{le=\"1.", "0\",b=\"c\"} 3\nb{le=\"0.25\"} 1\n", "c{le=\"+Inf\"} 1\n"]
        {
            plain.write_str(text).expect("a string takes everything");
        }
        plain.write_str("d{le=\"10000000.0\",x=\"{le=\"} 1\n# EOF\n").expect("likewise");
        plain.write_str("e{le=\"100000.0\"} 1\n").expect("likewise");
        assert_eq!(
            plain.to,
            "a_bucket{le=\"1\",b=\"c\"} 3\nb{le=\"0.25\"} 1\nc{le=\"+Inf\"} 1\n\
             d{le=\"1e+07\",x=\"{le=\"} 1\ne{le=\"100000\"} 1\n"
        );
    }

    #[test]
    fn counters_are_counters_again() {
        let mut plain = Plain::new(String::new());
        let text = "# HELP nginx_ingress_controller_requests client requests\n\
                    # TYPE nginx_ingress_controller_requests unknown\n\
                    # HELP penstock_connections_refused x\n\
                    # TYPE penstock_connections_refused counter\n";
        plain.write_str(text).expect("a string takes everything");
        assert_eq!(
            plain.to,
            "# HELP nginx_ingress_controller_requests client requests\n\
             # TYPE nginx_ingress_controller_requests counter\n\
             # HELP penstock_connections_refused_total x\n\
             # TYPE penstock_connections_refused_total counter\n"
        );
    }
}
