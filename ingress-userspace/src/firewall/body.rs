//! What of a body the engine is given: as much as it is to look at, in a form that it reads as an
//! endpoint would.

use std::borrow::Cow;

use memchr::memmem;

use super::{document, request::Request, settings::Settings};

/// A body that cannot be inspected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::firewall) struct Uninspectable;

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
    let media = own.split(';').next().unwrap_or_default().trim();
    // The engine goes by the end of a type, some applications by its beginning.
    if !media.is_empty() && !is_media(media) {
        return Err(Uninspectable);
    }
    let inspected = match Form::of(media) {
        Form::Parts => Cow::Owned(without_files(request, body, settings.most_arguments)?),
        _ if body.len() > settings.most_without_files => return Err(Uninspectable),
        Form::Json => {
            document::json(body)?;
            Cow::Borrowed(body)
        }
        Form::Xml => Cow::Owned(document::xml(body)?),
        Form::Arguments if arguments(body) > settings.most_arguments => return Err(Uninspectable),
        Form::Arguments => Cow::Borrowed(body),
    };
    match inspected.len() > settings.most_without_files {
        true => Err(Uninspectable),
        false => Ok(inspected),
    }
}

/// What the engine reads a body as, by its type.
enum Form {
    Parts,
    Json,
    Xml,
    /// And whatever else there is.
    Arguments,
}

impl Form {
    fn of(media: &str) -> Self {
        match media {
            "multipart/form-data" => Self::Parts,
            "application/json" | "text/json" => Self::Json,
            "application/xml" | "text/xml" => Self::Xml,
            _ if media.ends_with("+json") => Self::Json,
            _ if media.ends_with("+xml") => Self::Xml,
            _ => Self::Arguments,
        }
    }
}

/// Two tokens (RFC 9110, section 8.3.1).
fn is_media(media: &str) -> bool {
    let is_token = |part: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        !part.is_empty() && part.bytes().all(is_part)
    };
    media.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest))
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
        // The engine, and some applications, take it for a delimiter wherever it stands.
        if memmem::find(part, delimiter.as_bytes()).is_some() {
            return Err(Uninspectable);
        }
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

/// The boundary that a type names, of the characters that nobody takes for anything else. Beside it
/// there may be a `charset`, and nothing that some take for another boundary.
fn boundary(value: &str) -> Option<&str> {
    let mut boundary = None;
    for param in value.split(';').skip(1) {
        let (name, value) = param.split_once('=')?;
        let name = name.trim();
        if name.eq_ignore_ascii_case("boundary") && boundary.is_none() {
            boundary = Some(value.trim());
        } else if !name.eq_ignore_ascii_case("charset") {
            return None;
        }
    }
    let value = boundary?;
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    ((1..=70).contains(&value.len()) && value.bytes().all(is_plain)).then_some(value)
}

/// The lines that the head of a part has at most.
const LINES: usize = 8;
/// The longest name of a part. Bytes.
const NAME: usize = 1024;

/// The part is a file: it has a name of one. An error: it cannot be said for sure. Only one way of
/// writing it is taken: `form-data; name="…"` or `form-data; name="…"; filename="…"`.
fn is_file(head: &[u8]) -> Result<bool, Uninspectable> {
    let head = std::str::from_utf8(head).map_err(|_not_text| Uninspectable)?;
    let lines: Vec<_> = head.trim_end_matches("\r\n").split("\r\n").collect();
    let mut disposition = None;
    for line in &lines {
        let (name, value) = line.split_once(':').ok_or(Uninspectable)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        // Folded lines, blanks before the colon, line ends of other kinds.
        if name.is_empty() || !name.bytes().all(is_plain) || line.contains(['\r', '\n', '\0']) {
            return Err(Uninspectable);
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("content-disposition") {
            if disposition.replace(value).is_some() {
                return Err(Uninspectable);
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|own| value.eq_ignore_ascii_case(own))
        {
            return Err(Uninspectable);
        }
    }
    if lines.len() > LINES {
        return Err(Uninspectable);
    }
    let mut params = disposition.ok_or(Uninspectable)?.split(';').map(str::trim);
    if !params.next().is_some_and(|kind| kind.eq_ignore_ascii_case("form-data")) {
        return Err(Uninspectable);
    }
    let mut quoted = |wanted: &str| -> Result<Option<usize>, Uninspectable> {
        let Some(param) = params.next() else { return Ok(None) };
        let (name, value) = param.split_once('=').ok_or(Uninspectable)?;
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let value = value.filter(|value| !value.contains(['"', '\\'])).ok_or(Uninspectable)?;
        match name.eq_ignore_ascii_case(wanted) {
            true => Ok(Some(value.len())),
            false => Err(Uninspectable),
        }
    };
    let name = quoted("name")?.filter(|length| *length <= NAME);
    let file = quoted("filename")?;
    match (name, params.next()) {
        (Some(_), None) => Ok(file.is_some()),
        _ => Err(Uninspectable),
    }
}
