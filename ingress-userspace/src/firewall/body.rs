//! What of a body the engine is given: as much as it is to look at, in a form that it reads as an
//! endpoint would.

use std::borrow::Cow;

use memchr::memmem;

use super::{request::Request, settings::Settings};

/// A body that cannot be inspected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uninspectable;

/// What the engine is to look at of the request's body.
pub(super) fn inspected<'r>(
    request: &'r Request,
    settings: &Settings,
) -> Result<Cow<'r, [u8]>, Uninspectable> {
    let body = request.body.bytes();
    if body.is_empty() {
        return Ok(Cow::Borrowed(body));
    }
    let mut types = request.all("content-type");
    let own = types.next().unwrap_or_default().trim_ascii_start().to_ascii_lowercase();
    // Which of two the endpoint believes is unknown; the engine reads no coding.
    let coded = request.all("content-encoding").any(|coding| coding != "identity");
    if types.next().is_some() || coded {
        return Err(Uninspectable);
    }
    let inspected = match own.strip_prefix("multipart/form-data") {
        Some(_) => Cow::Owned(without_files(request, body, settings.most_arguments)?),
        None => Cow::Borrowed(body),
    };
    let is_form = !own.starts_with("multipart/form-data") && !is_document(&own);
    if inspected.len() > settings.most_without_files
        || is_form && arguments(body) > settings.most_arguments
    {
        return Err(Uninspectable);
    }
    Ok(inspected)
}

/// The engine reads a body of this type as JSON or XML, and bounds their parts itself.
fn is_document(own: &str) -> bool {
    let media = own.split(';').next().unwrap_or_default().trim();
    matches!(media, "application/json" | "text/json" | "application/xml" | "text/xml")
        || media.ends_with("+json")
        || media.ends_with("+xml")
}

/// How many arguments a form has at most.
pub(super) fn arguments(form: &[u8]) -> usize {
    memchr::memchr_iter(b'&', form).count() + 1
}

/// A form of several parts without what is in its files: names and heads of parts stay. Strict, for
/// what is not read as it is meant can be a file here and a field there (ModSecurity's
/// `MULTIPART_STRICT_ERROR`).
fn without_files(request: &Request, body: &[u8], most: usize) -> Result<Vec<u8>, Uninspectable> {
    let value = request.all("content-type").next().unwrap_or_default();
    let boundary = boundary(value).ok_or(Uninspectable)?;
    let delimiter = format!("--{boundary}");
    // The first stands at the beginning of the body (RFC 2046, section 5.1.1, without preamble).
    let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or(Uninspectable)?;
    let next = format!("\r\n{delimiter}");
    let finder = memmem::Finder::new(next.as_bytes());
    let mut kept = Vec::new();
    for _ in 0..most {
        if let Some(end) = rest.strip_prefix(b"--") {
            let end: &[u8] = end.strip_prefix(b"\r\n").unwrap_or(end);
            kept.extend_from_slice(delimiter.as_bytes());
            kept.extend_from_slice(b"--\r\n");
            return if end.is_empty() { Ok(kept) } else { Err(Uninspectable) };
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(Uninspectable)?;
        let end = finder.find(part).ok_or(Uninspectable)?;
        let (part, after) = part.split_at_checked(end).ok_or(Uninspectable)?;
        rest = after.get(next.len()..).ok_or(Uninspectable)?;
        let head_end = memmem::find(part, b"\r\n\r\n").ok_or(Uninspectable)?;
        let (head, content) = part.split_at_checked(head_end + 4).ok_or(Uninspectable)?;
        kept.extend_from_slice(delimiter.as_bytes());
        kept.extend_from_slice(b"\r\n");
        kept.extend_from_slice(head);
        if !is_file(head)? {
            kept.extend_from_slice(content);
        }
        kept.extend_from_slice(b"\r\n");
    }
    Err(Uninspectable)
}

/// The one boundary that a type names, of the characters that need no thought.
fn boundary(value: &str) -> Option<&str> {
    let is_boundary = |param: &&str| {
        param.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))
    };
    let mut named = value.split(';').skip(1).filter(is_boundary);
    let (_, value) = named.next().filter(|_| named.next().is_none())?.split_once('=')?;
    let value = value.trim();
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    ((1..=70).contains(&value.len()) && value.bytes().all(is_plain)).then_some(value)
}

/// The part is a file: it has a name of one. An error: it cannot be said for sure.
fn is_file(head: &[u8]) -> Result<bool, Uninspectable> {
    let head = std::str::from_utf8(head).map_err(|_not_text| Uninspectable)?;
    let lower = head.to_ascii_lowercase();
    let mut dispositions =
        lower.split("\r\n").filter(|line| line.starts_with("content-disposition:"));
    let line = dispositions.next().ok_or(Uninspectable)?;
    // Folded lines, and names that only some decode.
    let odd = lower.contains("\r\n ")
        || lower.contains("\r\n\t")
        || line.contains("filename*")
        || lower.split("\r\n").any(|line| line.contains('\r') || line.contains('\n'))
        || !line.contains("name=\"");
    if dispositions.next().is_some() || odd || line.matches("filename").count() > 1 {
        return Err(Uninspectable);
    }
    match line.contains("filename") {
        true if line.contains("; filename=\"") => Ok(true),
        true => Err(Uninspectable),
        false => Ok(false),
    }
}
