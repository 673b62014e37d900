//! From the text of a value to a [`Text`].

use std::collections::BTreeSet;

use crate::model::{Piece, Text, Variable};

/// Cuts a text with `$name` and `${name}` in it into pieces. Says which variable is not known.
pub(super) fn parse(text: &str) -> Result<Text, String> {
    parse_with(text, &BTreeSet::new())
}

/// The same where a snippet makes variables of these names.
pub(super) fn parse_with(text: &str, own: &BTreeSet<String>) -> Result<Text, String> {
    let mut pieces = Vec::new();
    cut(text, |part| {
        pieces.push(match part {
            Part::Text(text) => Piece::Text(text.into()),
            Part::Name(name) => {
                let of_snippet = || own.contains(name).then(|| Variable::Snippet(name.into()));
                let variable = Variable::named(name).or_else(of_snippet);
                Piece::Variable(variable.ok_or_else(|| unknown(name, ""))?)
            }
        });
        Ok(())
    })?;
    Ok(Text { pieces: pieces.into() })
}

/// A part of a text, as it is written.
pub(super) enum Part<'t> {
    /// Never empty.
    Text(&'t str),
    /// The name of a variable.
    Name(&'t str),
}

/// Hands over the parts of a text in their order.
pub(super) fn cut<'t>(
    text: &'t str,
    mut take: impl FnMut(Part<'t>) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            take(Part::Text(before))?;
        }
        let name;
        (name, rest) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("a `${` has no `}`")?,
            None => {
                let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
                after.split_at(after.find(|char| !is_part(char)).unwrap_or(after.len()))
            }
        };
        take(Part::Name(name))?;
    }
    if rest.is_empty() { Ok(()) } else { take(Part::Text(rest)) }
}

/// What is wrong with a variable; `more` are known beside those of all texts.
pub(super) fn unknown(name: &str, more: &str) -> String {
    format!(
        "`${name}` is not known (known are {more}`$request_uri`, `$uri`, `$args`, `$host`, \
         `$remote_addr`, `$binary_remote_addr`, `$remote_port`, `$scheme`, `$server_name`, \
         `$server_port`, `$request_method`, `$escaped_request_uri`, `$request_id`, \
         `$proxy_add_x_forwarded_for`, `$namespace`, `$ingress_name`, `$service_name`, \
         `$service_port`, `$location_path`, `$opentelemetry_trace_id`, `$opentelemetry_span_id`, \
         `$opentelemetry_context_traceparent`, `$opentelemetry_context_b3`, `$is_args`, `$https`, \
         `$content_type`, \
         `$content_length`, `$server_addr`, `$realip_remote_addr`, `$realip_remote_port`, \
         `$proxy_protocol_addr`, `$proxy_protocol_port`, `$connection`, `$connection_requests`, \
         `$connection_time`, `$ssl_protocol`, `$ssl_cipher`, `$ssl_server_name`, \
         `$ssl_session_reused`, `$ssl_client_verify`, `$ssl_client_s_dn`, `$ssl_client_i_dn`, \
         `$hostname`, `$pid`, `$msec`, `$time_local`, `$time_iso8601`, `$http_…`, `$cookie_…` \
         and `$arg_…`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Result<Vec<Piece>, String> {
        parse(text).map(|text| text.pieces.into_vec())
    }

    #[test]
    fn texts_are_cut_into_pieces() {
        let text = |text: &str| Piece::Text(text.into());
        assert_eq!(pieces("$request_uri").unwrap(), [Piece::Variable(Variable::RequestUri)]);
        assert_eq!(
            pieces("a-${http_X_User}b$cookie_Id-c").unwrap(),
            [
                text("a-"),
                Piece::Variable(Variable::Header("x-user".into())),
                text("b"),
                Piece::Variable(Variable::Cookie("Id".into())),
                text("-c"),
            ]
        );
        assert_eq!(pieces("plain").unwrap(), [text("plain")]);
        assert!(pieces("$nonsense").unwrap_err().contains("`$nonsense` is not known"));
        assert!(pieces("${host").is_err());
        assert!(pieces("$").is_err());
        assert!(pieces("$http_").is_err());
    }
}
