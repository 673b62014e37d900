//! What one turn of a proxy measured, and what all of them together say.

/// One proxy's turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Turn {
    /// What the case is about, in [`super::case::Measure::unit`].
    pub(super) value: f64,
    /// What [`super::case::Measure::columns`] names.
    pub(super) columns: Vec<f64>,
}

/// A measurement over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

impl Spread {
    pub(super) fn of(turns: &[Turn], value: impl Fn(&Turn) -> f64) -> Self {
        let mut values: Vec<f64> = turns.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        Self {
            median: (at(low) + at(high)) / 2.0,
            lowest: at(0),
            highest: at(values.len().saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let turn = |value| Turn { value, columns: Vec::new() };
        let turns = [turn(4.0), turn(1.0), turn(2.0), turn(9.0)];
        let spread = Spread { median: 3.0, lowest: 1.0, highest: 9.0 };
        assert_eq!(Spread::of(&turns, |turn| turn.value), spread);
        assert_eq!(Spread::of(&turns[..3], |turn| turn.value).median, 2.0);
    }
}
