//! What a request has for the values of a snippet.

use data_encoding::BASE64;

use super::{super::variables::Seen, Script};
use crate::{
    model::{Part, Value, Variable},
    proxy::message::{Fields, Known},
    route::octets,
};

impl Script<'_> {
    /// The value now. `escapes`: groups are parts of a URL.
    pub(super) fn value(&self, value: &Value, fields: &Fields, escapes: bool) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in &value.parts {
            self.part(part, fields, escapes, &mut whole);
        }
        whole
    }

    /// Appends the part; what only an answer has is nothing.
    pub(super) fn part(&self, part: &Part, fields: &Fields, escapes: bool, out: &mut Vec<u8>) {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Group(group) => {
                let text = octets(self.groups.get(*group).map_or("", |text| text));
                if escapes && self.escaped { escape(&text, out) } else { out.extend(text) }
            }
            Part::Own(name) => {
                let own = self.own.iter().find(|(own, _)| own == name);
                out.extend_from_slice(own.map_or(&[], |(_, value)| value));
            }
            Part::Authority => out.extend_from_slice(self.authority.as_bytes()),
            Part::RemoteUser => out.extend(remote_user(fields).unwrap_or_default()),
            Part::QuestionMark if self.args.is_empty() => {}
            Part::QuestionMark => out.push(b'?'),
            Part::Https if self.client.tls => out.extend_from_slice(b"on"),
            Part::Variable(variable) => self.variable(variable, fields, out),
            Part::Https | Part::Status | Part::Upstream(_) | Part::Judged(_) => {}
        }
    }

    fn variable(&self, variable: &Variable, fields: &Fields, out: &mut Vec<u8>) {
        match variable {
            Variable::Uri => out.extend(octets(&self.uri)),
            Variable::Args => out.extend_from_slice(self.args.as_bytes()),
            Variable::Argument(name) => {
                let pairs = self.args.split('&').filter_map(|pair| pair.split_once('='));
                let is_it = |(key, _): &(&str, &str)| key.eq_ignore_ascii_case(name);
                let mut found = pairs.filter(is_it).map(|(_, value)| value);
                out.extend_from_slice(found.next().unwrap_or_default().as_bytes());
            }
            Variable::Header(name) if **name == *"host" => {
                out.extend_from_slice(self.authority.as_bytes());
            }
            _ => {
                let seen = Seen {
                    client: self.client,
                    fields,
                    method: &self.method,
                    target: &self.target,
                    path: &self.uri,
                    host: &self.host,
                    address: &self.address,
                    server: self.server,
                    route: self.route,
                    service: self.service,
                    request_id: self.request_id.clone(),
                    trace: None,
                };
                seen.variable(variable, &mut |bytes| out.extend_from_slice(bytes));
                if let Some(id) = seen.request_id.get() {
                    self.request_id.get_or_init(|| *id);
                }
            }
        }
    }
}

/// The name before the colon of basic authentication.
fn remote_user(fields: &Fields) -> Option<Vec<u8>> {
    let value = fields.get(Known::Authorization)?;
    let (scheme, code) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut decoded = BASE64.decode(code.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.truncate(colon);
    Some(decoded)
}

/// As nginx escapes what becomes part of a query (`NGX_ESCAPE_ARGS`).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte <= b' ' || byte >= 0x7F || b"\"#%&+;<>?\\^`{|}".contains(&byte) {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
        } else {
            out.push(byte);
        }
    }
}
