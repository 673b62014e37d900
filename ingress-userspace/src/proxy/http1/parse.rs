//! Heads, from bytes. A head is looked at when it is complete: no state is kept between reads.

use http::Method;
use memchr::{memchr, memchr_iter, memmem};

use crate::{
    model::ClientLimits,
    proxy::{
        message::{BodyLength, Fields, Known, RequestHead, ResponseHead, Version},
        respond::Failure,
    },
};

/// The most fields of a head: a client gains nothing from more, and each costs work.
const FIELDS: usize = 200;
/// Empty lines that may precede a request (RFC 9112, section 2.2).
const EMPTY_LINES: usize = 2;

/// Why a request's head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// It breaks the grammar, or can be read in two ways.
    Malformed,
    /// The request line is longer than a line may be.
    TargetTooLong,
    /// A field or the whole is longer than it may be, or there are too many fields.
    TooLarge,
    /// A transfer coding other than `chunked`.
    Coding,
    /// A major version other than 1.
    Version,
}

impl BadHead {
    /// What it is answered with.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Malformed => Failure::BadRequest,
            Self::TargetTooLong => Failure::TargetTooLong,
            Self::TooLarge => Failure::HeadTooLarge,
            Self::Coding => Failure::UnknownCoding,
            Self::Version => Failure::UnknownVersion,
        }
    }
}

/// Reads a request's head that is all there, as a connection of its own would.
///
/// # Errors
/// What the client would be answered.
pub(crate) fn whole(
    bytes: &[u8],
    head: &mut RequestHead,
    limits: &ClientLimits,
) -> Result<(), Failure> {
    match request(bytes, head, limits.header_line).map_err(BadHead::failure)? {
        Some(length) if length > limits.header_total => Err(Failure::HeadTooLarge),
        Some(length) if length == bytes.len() => Ok(()),
        Some(_) | None => Err(Failure::BadRequest),
    }
}

/// Reads a request's head from the front of `input`. `None`: it is not complete. Else its length in
/// bytes. `longest`: the longest line, one of nginx's `large-client-header-buffers`, in bytes.
///
/// # Errors
/// [`BadHead`], as soon as it is certain.
pub(crate) fn request(
    input: &[u8],
    head: &mut RequestHead,
    longest: usize,
) -> Result<Option<usize>, BadHead> {
    let skipped = empty_lines(input);
    let bytes = input.get(skipped..).unwrap_or_default();
    let Some(length) = memmem::find(bytes, b"\r\n\r\n") else {
        incomplete(bytes, longest)?;
        return Ok(None);
    };
    head.clear();
    // Each line with its CRLF; the last, empty one is left out.
    let lines = bytes.get(..length + 2).unwrap_or_default();
    let end = line_end(lines)?;
    if end > longest {
        return Err(BadHead::TargetTooLong);
    }
    request_line(lines.get(..end).unwrap_or_default(), head)?;
    fields(lines.get(end + 2..).unwrap_or_default(), &mut head.fields, Some(longest))?;
    head.body = request_body(head)?;
    Ok(Some(skipped + length + 4))
}

fn empty_lines(input: &[u8]) -> usize {
    let mut skipped = 0;
    while skipped < 2 * EMPTY_LINES
        && input.get(skipped..).is_some_and(|rest| rest.starts_with(b"\r\n"))
    {
        skipped += 2;
    }
    skipped
}

/// What can be refused before the head is complete: a client that waits for an answer gets one.
fn incomplete(bytes: &[u8], longest: usize) -> Result<(), BadHead> {
    let mut start = 0;
    for (number, end) in memchr_iter(b'\n', bytes).enumerate() {
        if end == 0 || bytes.get(end - 1) != Some(&b'\r') {
            return Err(BadHead::Malformed);
        }
        check_length(end - start, number, longest)?;
        start = end + 1;
    }
    check_length(bytes.len() - start, usize::from(start > 0), longest)
}

fn check_length(length: usize, line: usize, longest: usize) -> Result<(), BadHead> {
    match (length > longest, line) {
        (false, _) => Ok(()),
        (true, 0) => Err(BadHead::TargetTooLong),
        (true, _) => Err(BadHead::TooLarge),
    }
}

/// Where the first line ends, without its CRLF. A bare LF is no line end (RFC 9112, section 2.2
/// allows to take it for one; upstreams differ).
fn line_end(lines: &[u8]) -> Result<usize, BadHead> {
    let end = memchr(b'\n', lines).ok_or(BadHead::Malformed)?;
    match end.checked_sub(1) {
        Some(before) if lines.get(before) == Some(&b'\r') => Ok(before),
        _ => Err(BadHead::Malformed),
    }
}

fn request_line(line: &[u8], head: &mut RequestHead) -> Result<(), BadHead> {
    let first = memchr(b' ', line).ok_or(BadHead::Malformed)?;
    let (method, rest) = line.split_at(first);
    let rest = rest.get(1..).unwrap_or_default();
    let last = memchr(b' ', rest).ok_or(BadHead::Malformed)?;
    let (target, version) = rest.split_at(last);
    head.version = version_of(version.get(1..).unwrap_or_default())?;
    // nginx's rule; lower case is no method that anyone registered.
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
    if !method.iter().all(is_method) {
        return Err(BadHead::Malformed);
    }
    head.method = Method::from_bytes(method).map_err(|_empty| BadHead::Malformed)?;
    target_of(target, head)
}

fn version_of(version: &[u8]) -> Result<Version, BadHead> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => Err(BadHead::Version),
        _ => Err(BadHead::Malformed),
    }
}

/// The four forms of a target (RFC 9112, section 3.2).
fn target_of(target: &[u8], head: &mut RequestHead) -> Result<(), BadHead> {
    // A fragment is never sent; whoever gets one would have to guess.
    let bad = |byte: &u8| *byte <= b' ' || *byte == 0x7F || *byte == b'#';
    if target.is_empty() || target.iter().any(bad) {
        return Err(BadHead::Malformed);
    }
    if head.method == Method::CONNECT {
        push_text(&mut head.authority, target);
        return Ok(());
    }
    match target {
        [b'/', ..] => push_text(&mut head.target, target),
        b"*" if head.method == Method::OPTIONS => head.target.push('*'),
        _ => {
            let after = strip_prefix(target, b"http://")
                .or_else(|| strip_prefix(target, b"https://"))
                .ok_or(BadHead::Malformed)?;
            let end = after.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let (authority, rest) = after.split_at(end.unwrap_or(after.len()));
            if authority.is_empty() {
                return Err(BadHead::Malformed);
            }
            push_text(&mut head.authority, authority);
            if rest.first() != Some(&b'/') {
                head.target.push('/');
            }
            push_text(&mut head.target, rest);
        }
    }
    Ok(())
}

fn strip_prefix<'b>(bytes: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    let (start, rest) = bytes.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Appends bytes as text; octets that are no UTF-8 become their escapes, which mean the same.
pub(crate) fn push_text(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for octet in chunk.invalid() {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            text.push('%');
            text.push(char::from(DIGITS[usize::from(octet >> 4)]));
            text.push(char::from(DIGITS[usize::from(octet & 15)]));
        }
    }
}

/// Reads all lines of `lines` as fields. `longest`: of a client, whose lines end with CRLF and have
/// so many bytes at most.
pub(in crate::proxy) fn fields(
    lines: &[u8],
    fields: &mut Fields,
    longest: Option<usize>,
) -> Result<(), BadHead> {
    let mut rest = lines;
    while !rest.is_empty() {
        let feed = memchr(b'\n', rest).ok_or(BadHead::Malformed)?;
        let line = rest.get(..feed).unwrap_or_default();
        rest = rest.get(feed + 1..).unwrap_or_default();
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if longest.is_some() => return Err(BadHead::Malformed),
            None => line,
        };
        if longest.is_some_and(|longest| line.len() > longest) {
            return Err(BadHead::TooLarge);
        }
        // A space or tab first would be a continuation (obs-fold), and is no token either.
        let colon = memchr(b':', line).ok_or(BadHead::Malformed)?;
        let (name, value) = line.split_at(colon);
        let value = trim(value.get(1..).unwrap_or_default());
        // All that are known are tokens.
        let known = Known::of(name);
        if known.is_none() && !is_token(name) || !is_value(value) {
            return Err(BadHead::Malformed);
        }
        if fields.len() >= FIELDS {
            return Err(BadHead::TooLarge);
        }
        fields.push_of(known, name, value);
    }
    Ok(())
}

/// Without the spaces and tabs around it, and those only (RFC 9110, section 5.5).
fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// The bytes of a token (RFC 9110, section 5.6.2).
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\''
                | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

/// No control characters but the tab. Looks at all bytes whatever it finds, which the compiler
/// makes vector instructions of.
fn is_value(value: &[u8]) -> bool {
    !value
        .iter()
        .fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7F))
}

/// How long the body is (RFC 9112, section 6.3). Where that section lets a server choose between
/// repairing and refusing, it is refused, as nginx does.
fn request_body(head: &RequestHead) -> Result<BodyLength, BadHead> {
    let fields = &head.fields;
    let length = content_length(fields, false)?;
    let mut codings = fields.get_all(Known::TransferEncoding);
    match (codings.next(), codings.next(), length) {
        (None, _, None) => Ok(BodyLength::None),
        (None, _, Some(length)) => Ok(BodyLength::Exact(length)),
        (Some(_), _, Some(_)) | (Some(_), Some(_), _) => Err(BadHead::Malformed),
        (Some(_), ..) if head.version < Version::Http11 => Err(BadHead::Malformed),
        (Some(coding), ..) if coding.eq_ignore_ascii_case(b"chunked") => Ok(BodyLength::Unknown),
        (Some(_), ..) => Err(BadHead::Coding),
    }
}

/// `Content-Length`. `repeated`: the same value may occur twice.
fn content_length(fields: &Fields, repeated: bool) -> Result<Option<u64>, BadHead> {
    let mut length = None;
    for value in fields.get_all(Known::ContentLength) {
        let valid = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value)
            .ok()
            .filter(|_| valid)
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|number| i64::try_from(*number).is_ok())
            .ok_or(BadHead::Malformed)?;
        match length {
            None => length = Some(number),
            Some(first) if repeated && first == number => {}
            Some(_) => return Err(BadHead::Malformed),
        }
    }
    Ok(length)
}

/// Reads the head of an answer from the front of `input`, as [`request`] does. `to_head`: the
/// request was HEAD.
///
/// # Errors
/// It is no head of HTTP/1, or says two things about its body.
pub(crate) fn response(
    input: &[u8],
    head: &mut ResponseHead,
    to_head: bool,
) -> Result<Option<Parsed>, BadHead> {
    if !b"HTTP/1.".iter().zip(input).all(|(expected, byte)| expected == byte) {
        return Err(BadHead::Malformed);
    }
    let Some(length) = head_end(input) else { return Ok(None) };
    head.clear();
    let lines = input.get(..length).unwrap_or_default();
    let feed = memchr(b'\n', lines).ok_or(BadHead::Malformed)?;
    let line = lines.get(..feed).unwrap_or_default();
    let keep_alive = status_line(line.strip_suffix(b"\r").unwrap_or(line), head)?;
    let rest = lines.get(feed + 1..).unwrap_or_default();
    let rest = rest.strip_suffix(b"\r\n").or_else(|| rest.strip_suffix(b"\n")).unwrap_or(rest);
    fields(rest, &mut head.fields, None)?;
    head.body = response_body(head, to_head)?;
    let option = |wanted: &[u8]| {
        head.fields.items(Known::Connection).any(|item| item.eq_ignore_ascii_case(wanted))
    };
    let keep_alive = !option(b"close") && (keep_alive || option(b"keep-alive"));
    // Where a body is announced that this answer cannot have, an endpoint that sends it all the same
    // would have it taken for its next answer.
    let promised = head.body == BodyLength::None && !head.is_interim() && announces(&head.fields);
    Ok(Some(Parsed { length, keep_alive: keep_alive && !promised }))
}

/// What the head of an answer says beside what is in [`ResponseHead`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// The head's length. Bytes.
    pub(crate) length: usize,
    /// The connection can be used again after the body.
    pub(crate) keep_alive: bool,
}

/// The length of a head whose lines end with CRLF or LF; `None`: it is not complete.
pub(in crate::proxy) fn head_end(input: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', input).find_map(|feed| match input.get(feed + 1..)? {
        [b'\n', ..] => Some(feed + 2),
        [b'\r', b'\n', ..] => Some(feed + 3),
        _ => None,
    })
}

/// True: HTTP/1.1, whose connections stay open.
fn status_line(line: &[u8], head: &mut ResponseHead) -> Result<bool, BadHead> {
    let (version, rest) = line.split_at_checked(9).ok_or(BadHead::Malformed)?;
    let minor = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9', b' '] => *minor,
        _ => return Err(BadHead::Malformed),
    };
    let (status, reason) = rest.split_at_checked(3).ok_or(BadHead::Malformed)?;
    let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = status else {
        return Err(BadHead::Malformed);
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    head.status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    match reason {
        [] => {}
        [b' ', reason @ ..] if is_value(reason) => head.reason.extend_from_slice(reason),
        _ => return Err(BadHead::Malformed),
    }
    Ok(minor > b'0')
}

/// Of an answer without a body, to HEAD or by its status: what it would be.
fn announces(fields: &Fields) -> bool {
    let empty = |length: &[u8]| length.iter().all(|digit| *digit == b'0');
    fields.contains(Known::TransferEncoding) || !fields.get_all(Known::ContentLength).all(empty)
}

/// How long the body of an answer is, whose head this is (RFC 9112, section 6.3).
pub(in crate::proxy) fn response_body(
    head: &mut ResponseHead,
    to_head: bool,
) -> Result<BodyLength, BadHead> {
    let length = content_length(&head.fields, true)?;
    let coded = head.fields.contains(Known::TransferEncoding);
    if to_head || matches!(head.status, 100..200 | 204 | 304) {
        return Ok(BodyLength::None);
    }
    if coded {
        let mut codings = head.fields.items(Known::TransferEncoding);
        let only = codings.next().filter(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if only.is_none() || codings.next().is_some() {
            return Err(BadHead::Coding);
        }
        drop(codings);
        // Where both are given the coding counts (RFC 9112, section 6.3).
        head.fields.remove(Known::ContentLength);
        return Ok(BodyLength::Unknown);
    }
    Ok(length.map_or(BodyLength::Unknown, BodyLength::Exact))
}
