//! What a FastCGI application is told beside the fields of a request (reference section 1.7).

use std::cell::OnceCell;

use super::variables::Seen;
use crate::{
    model::{FastCgi, FastCgiPiece, FastCgiVariable, Variable},
    proxy::{
        message::{Fields, RequestHead, Version},
        respond::Failure,
    },
    route::{normalize, octets},
};

/// The parameters of a request whose head is ready for its upstream. `user`: who it has proved to be.
///
/// # Errors
/// A value would hold a NUL, behind which an application written in C reads nothing: it would be
/// told something else than others.
pub(super) fn parameters(
    own: &FastCgi,
    seen: &Seen<'_>,
    head: &RequestHead,
    user: &[u8],
) -> Result<Box<Fields>, Failure> {
    // As it was compared with the rules, or as a rewrite left it: no segment of it leads upwards.
    let path = normalize(head.path()).map_err(|_bad_path| Failure::BadRequest)?;
    let path = octets(&path);
    let mut parameters = Box::<Fields>::default();
    let mut value = Vec::new();
    for parameter in &own.parameters {
        value.clear();
        for piece in &parameter.value {
            let variable = match piece {
                FastCgiPiece::Text(text) => {
                    value.extend_from_slice(text.as_bytes());
                    continue;
                }
                FastCgiPiece::Variable(variable) => variable,
            };
            match variable {
                FastCgiVariable::Uri => value.extend_from_slice(&path),
                FastCgiVariable::ScriptName => {
                    value.extend_from_slice(&path);
                    if let (Some(index), Some(b'/')) = (&own.index, path.last()) {
                        value.extend_from_slice(index.as_bytes());
                    }
                }
                FastCgiVariable::ServerProtocol => {
                    value.extend_from_slice(match head.version {
                        Version::Http10 => b"HTTP/1.0",
                        Version::Http11 => b"HTTP/1.1",
                        Version::Http2 => b"HTTP/2.0",
                    });
                }
                FastCgiVariable::Https if seen.client.tls => value.extend_from_slice(b"on"),
                FastCgiVariable::Https => {}
                FastCgiVariable::RemoteUser => value.extend_from_slice(user),
                // Of the target as it is asked for: a rewrite may add to it, for the application alone.
                FastCgiVariable::Request(variable @ (Variable::Args | Variable::Argument(_))) => {
                    let asked = Seen { target: &head.target, request_id: OnceCell::new(), ..*seen };
                    asked.variable(variable, &mut |bytes| value.extend_from_slice(bytes));
                }
                FastCgiVariable::Request(variable) => {
                    seen.variable(variable, &mut |bytes| value.extend_from_slice(bytes));
                }
            }
        }
        if value.contains(&0) {
            return Err(Failure::BadRequest);
        }
        if !(parameter.optional && value.is_empty()) {
            parameters.push(parameter.name.as_bytes(), &value);
        }
    }
    Ok(parameters)
}
