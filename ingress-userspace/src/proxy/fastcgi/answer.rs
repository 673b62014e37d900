//! The head of what an application answers: that of CGI (RFC 3875, section 6), with the status as
//! nginx finds it.

use crate::proxy::{
    http1::{answer_body, fields, head_end},
    message::{Known, ResponseHead},
};

/// It is no head, or says two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadAnswer;

/// Reads a head from the front of `input`. `None`: it is not complete. Else its length in bytes.
/// `to_head`: the request was HEAD.
///
/// # Errors
/// [`BadAnswer`].
pub(super) fn read(
    input: &[u8],
    head: &mut ResponseHead,
    to_head: bool,
) -> Result<Option<usize>, BadAnswer> {
    if matches!(input, [b'\n', ..] | [b'\r', b'\n', ..]) {
        return Err(BadAnswer);
    }
    let Some(length) = head_end(input) else { return Ok(None) };
    head.clear();
    let lines = input.get(..length).unwrap_or_default();
    let lines = lines.strip_suffix(b"\r\n").or_else(|| lines.strip_suffix(b"\n")).unwrap_or(lines);
    fields(lines, &mut head.fields, None).map_err(|_bad| BadAnswer)?;
    status(head)?;
    // Its connection frames the body, whatever it says.
    head.fields.remove(Known::TransferEncoding);
    head.body = answer_body(head, to_head).map_err(|_bad| BadAnswer)?;
    Ok(Some(length))
}

/// `Status` says it and is not passed on; else `Location` is a redirect, and all else is 200.
fn status(head: &mut ResponseHead) -> Result<(), BadAnswer> {
    let fields = &mut head.fields;
    let mut said = fields.iter().filter(|field| field.is_named(b"status"));
    let (first, second) = (said.next(), said.next());
    drop(said);
    head.status = match first {
        None if fields.contains(Known::Location) => 302,
        None => 200,
        Some(_) if second.is_some() => return Err(BadAnswer),
        Some(field) => {
            let (code, reason) = match field.value.split_at_checked(3) {
                Some((code, [])) => (code, &[][..]),
                Some((code, [b' ', reason @ ..])) => (code, reason),
                _ => return Err(BadAnswer),
            };
            let [hundreds @ b'2'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = code else {
                return Err(BadAnswer);
            };
            head.reason.extend_from_slice(reason);
            let digit = |byte: &u8| u16::from(byte - b'0');
            digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)
        }
    };
    fields.remove_named(b"status");
    Ok(())
}
