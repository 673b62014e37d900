use std::ops::Range;

use super::Known;

/// The fields of a head or of trailers, in their order. Names are tokens (RFC 9110, section 5.6.2)
/// in the case in which they came, values hold no control characters but the tab: whoever pushes
/// has checked that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// The known names that occur, and perhaps some that were removed.
    present: u128,
}

/// A head is 32 KiB at most, and what is added to it some KiB more.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Span,
    value: Span,
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    length: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'f> {
    pub(crate) name: &'f [u8],
    pub(crate) known: Option<Known>,
    pub(crate) value: &'f [u8],
}

impl Field<'_> {
    /// It has this name. Lower case.
    pub(crate) fn is_named(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// An upstream may take its name for this one: CGI and its like read `_`, `-` and what else is
    /// neither letter nor digit as the same (RFC 3875, section 4.1.18).
    pub(crate) fn is_alike(&self, name: &[u8]) -> bool {
        self.name.len() == name.len() && self.name.iter().map(fold).eq(name.iter().map(fold))
    }
}

/// Letters in lower case, digits, and a dash for everything else.
pub(crate) fn fold(byte: &u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

impl Fields {
    /// Empties it, keeping its room.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.present = 0;
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the first `Set-Cookie` of this name sets it to.
    pub(crate) fn set_cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.get_all(Known::SetCookie).find_map(|line| {
            let pair = line.split(|byte| *byte == b';').next()?.trim_ascii();
            pair.strip_prefix(name)?.strip_prefix(b"=")
        })
    }

    /// There is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends a field.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_of(Known::of(name), name, value);
    }

    /// Appends a field of which it is known whether its name is.
    pub(crate) fn push_of(&mut self, known: Option<Known>, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        self.append(name, known, value);
    }

    /// Appends a field by its known name.
    pub(crate) fn push_known(&mut self, known: Known, value: &[u8]) {
        let name = self.store(known.as_str().as_bytes());
        self.append(name, Some(known), value);
    }

    fn append(&mut self, name: Span, known: Option<Known>, value: &[u8]) {
        let value = self.store(value);
        self.present |= known.map_or(0, Known::bit);
        self.entries.push(Entry { name, value, known });
    }

    fn store(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, length: text.len() as u32 }
    }

    fn field(&self, entry: &Entry) -> Field<'_> {
        let text = |span: Span| self.text.get(span.range()).unwrap_or_default();
        Field { name: text(entry.name), known: entry.known, value: text(entry.value) }
    }

    /// All fields, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| self.field(entry))
    }

    /// There is one of this name.
    pub(crate) fn contains(&self, known: Known) -> bool {
        self.present & known.bit() != 0
            && self.entries.iter().any(|entry| entry.known == Some(known))
    }

    /// The value of the first of this name.
    pub(crate) fn get(&self, known: Known) -> Option<&[u8]> {
        self.get_all(known).next()
    }

    /// The values of all of this name, in their order.
    pub(crate) fn get_all(&self, known: Known) -> impl DoubleEndedIterator<Item = &[u8]> {
        let entries: &[Entry] = if self.present & known.bit() == 0 { &[] } else { &self.entries };
        entries
            .iter()
            .filter(move |entry| entry.known == Some(known))
            .map(|entry| self.field(entry).value)
    }

    /// The value of the first of this name, in any case.
    pub(crate) fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.is_named(name)).map(|field| field.value)
    }

    /// Removes all of this name. True if there was one.
    pub(crate) fn remove(&mut self, known: Known) -> bool {
        if self.present & known.bit() == 0 {
            return false;
        }
        self.present &= !known.bit();
        let before = self.entries.len();
        self.entries.retain(|entry| entry.known != Some(known));
        self.entries.len() < before
    }

    /// Removes all of this name, in any case.
    pub(crate) fn remove_named(&mut self, name: &[u8]) {
        match Known::of(name) {
            Some(known) => drop(self.remove(known)),
            None => self.retain(|field| !field.is_named(name)),
        }
    }

    /// Removes all that an upstream may take for this name, which only we may say.
    pub(crate) fn remove_alike(&mut self, name: &[u8]) {
        self.retain(|field| !field.is_alike(name));
    }

    /// Keeps the fields that `keep` says yes to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| keep(self.field(entry)));
        self.entries = entries;
    }

    /// Makes this the only field of its name, at the end.
    pub(crate) fn set(&mut self, known: Known, value: &[u8]) {
        self.remove(known);
        self.push_known(known, value);
    }

    /// Makes this the only field of its name, in any case, at the end.
    pub(crate) fn set_named(&mut self, name: &[u8], value: &[u8]) {
        self.remove_named(name);
        self.push(name, value);
    }

    /// Gives the first field of the one name the other name.
    pub(crate) fn rename(&mut self, from: Known, to: Known) {
        let name = self.store(to.as_str().as_bytes());
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.known == Some(from)) {
            entry.name = name;
            entry.known = Some(to);
            self.present |= to.bit();
        }
    }

    /// The fields as HTTP/1 writes them, each line with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for field in self.iter() {
            out.extend_from_slice(field.name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The items of the comma-separated lists of this name, trimmed, empty ones left out (RFC 9110,
    /// section 5.6.1).
    pub(crate) fn items(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.get_all(known)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|item| !item.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn fields_keep_order_and_case() {
        let mut fields = Fields::default();
        fields.push(b"hOST", b"a.example");
        fields.push(b"X-Own", b"1");
        fields.push(b"x-own", b"2");
        assert_eq!(written(&fields), "hOST: a.example\r\nX-Own: 1\r\nx-own: 2\r\n");
        assert_eq!(fields.get(Known::Host), Some(&b"a.example"[..]));
        assert_eq!(fields.get_named(b"x-OWN"), Some(&b"1"[..]));
    }

    #[test]
    fn a_field_is_set_removed_and_renamed() {
        let mut fields = Fields::default();
        fields.push(b"host", b"a");
        fields.push(b"HOST", b"b");
        fields.push(b"x-a", b"1");
        fields.push(b"X-A", b"2");
        fields.set(Known::Host, b"c");
        fields.remove_named(b"x-a");
        assert_eq!(written(&fields), "Host: c\r\n");
        fields.rename(Known::Host, Known::XForwardedHost);
        assert_eq!(written(&fields), "X-Forwarded-Host: c\r\n");
        assert!(!fields.contains(Known::Host));
        assert!(fields.contains(Known::XForwardedHost));
        assert!(!fields.remove(Known::Cookie));
        fields.clear();
        assert!(fields.is_empty());
    }

    #[test]
    fn names_that_are_read_as_one_are_removed_together() {
        let mut fields = Fields::default();
        for name in ["x-real-ip", "X_Real_Ip", "x.real-ip", "X-Real-IP", "xreal-ip", "x-real-ipx"] {
            fields.push(name.as_bytes(), b"1");
        }
        fields.remove_alike(b"X-Real-IP");
        assert_eq!(written(&fields), "xreal-ip: 1\r\nx-real-ipx: 1\r\n");
        assert!(!fields.iter().any(|field| field.known == Some(Known::XRealIp)));
    }

    #[test]
    fn lists_are_split_at_commas() {
        let mut fields = Fields::default();
        fields.push(b"connection", b"keep-alive, , x-a");
        fields.push(b"connection", b" close ");
        let items: Vec<_> = fields.items(Known::Connection).collect();
        assert_eq!(items, [&b"keep-alive"[..], b"x-a", b"close"]);
    }
}
