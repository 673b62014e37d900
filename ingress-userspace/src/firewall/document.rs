//! What a document costs the engine: it names each text in it with the whole way to it, and copies
//! the name for each rule that looks.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::body::Uninspectable;

/// What the names of all texts of a document may have together. Bytes.
const NAMES: usize = 256 * 1024;
/// How deep a document may be.
const DEPTH: usize = 64;

/// Refuses JSON that is none, or that would cost too much.
pub(super) fn json(body: &[u8]) -> Result<(), Uninspectable> {
    let mut spent = 0;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let way = Way { length: "json".len(), depth: 0, spent: &mut spent };
    way.deserialize(&mut reader).map_err(|_no_json| Uninspectable)?;
    reader.end().map_err(|_more_than_one| Uninspectable)
}

/// The way to a value.
struct Way<'s> {
    length: usize,
    depth: usize,
    spent: &'s mut usize,
}

impl Way<'_> {
    fn leaf<E: Error>(self) -> Result<(), E> {
        *self.spent += self.length;
        match *self.spent > NAMES {
            true => Err(E::custom("its names are too long")),
            false => Ok(()),
        }
    }

    fn below(&mut self, name: usize) -> Way<'_> {
        Way { length: self.length + 1 + name, depth: self.depth + 1, spent: self.spent }
    }
}

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.depth > DEPTH {
            true => Err(D::Error::custom("it is too deep")),
            false => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Way<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.leaf()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.leaf()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.leaf()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        // Whatever the engine puts into the way for an item, it is no longer than its number.
        while items.next_element_seed(self.below("65536".len()))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            entries.next_value_seed(self.below(key.len()))?;
        }
        Ok(())
    }
}

/// XML with its empty elements written out (the engine takes `<a/>` for one that does not end).
/// Refuses what would cost too much, and what is not read alike by all.
pub(super) fn xml(body: &[u8]) -> Result<Vec<u8>, Uninspectable> {
    if body.trim_ascii_start().first() != Some(&b'<') {
        return Err(Uninspectable);
    }
    let mut out = Vec::with_capacity(body.len() + body.len() / 4);
    let mut open: Vec<usize> = Vec::new();
    let (mut length, mut spent) = ("xml".len(), 0);
    let mut rest = body;
    while let Some(start) = memchr::memchr(b'<', rest) {
        let (text, tag) = rest.split_at_checked(start).ok_or(Uninspectable)?;
        out.extend_from_slice(text);
        let (tag, after) = split_tag(tag).ok_or(Uninspectable)?;
        rest = after;
        if tag.starts_with(b"<!") && !tag.starts_with(b"<!--") && !tag.starts_with(b"<![CDATA[") {
            // Entities, and whatever else a document can say of itself.
            return Err(Uninspectable);
        }
        if tag.starts_with(b"<!") || tag.starts_with(b"<?") {
            out.extend_from_slice(tag);
            spent += length;
        } else if tag.starts_with(b"</") {
            length -= open.pop().ok_or(Uninspectable)?;
            out.extend_from_slice(tag);
        } else {
            let inside = tag.get(1..tag.len() - 1).ok_or(Uninspectable)?;
            let (inside, is_empty) = match inside.strip_suffix(b"/") {
                Some(inside) => (inside, true),
                None => (inside, false),
            };
            let end = inside.iter().position(u8::is_ascii_whitespace).unwrap_or(inside.len());
            let (name, attributes) = inside.split_at_checked(end).ok_or(Uninspectable)?;
            length += name.len() + 1;
            let own = attributes.len() + length;
            spent += own * (1 + memchr::memchr_iter(b'=', attributes).count());
            out.push(b'<');
            out.extend_from_slice(inside);
            out.push(b'>');
            if is_empty {
                out.extend_from_slice(b"</");
                out.extend_from_slice(name);
                out.push(b'>');
                length -= name.len() + 1;
            } else {
                open.push(name.len() + 1);
            }
        }
        if spent > NAMES || open.len() > DEPTH {
            return Err(Uninspectable);
        }
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// A tag, comment or the like, and what follows it.
fn split_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let until = |end: &[u8]| memchr::memmem::find(text, end).map(|place| place + end.len());
    let end = if text.starts_with(b"<!--") {
        until(b"-->")?
    } else if text.starts_with(b"<![CDATA[") {
        until(b"]]>")?
    } else if text.starts_with(b"<?") {
        until(b"?>")?
    } else {
        let mut quote = None;
        let closes = |byte: &u8| match (quote, byte) {
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                false
            }
            (Some(own), byte) if own == *byte => {
                quote = None;
                false
            }
            (None, b'>') => true,
            _ => false,
        };
        text.iter().position(closes)? + 1
    };
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_taken_that_costs_little() {
        for fine in ["{}", "1", r#"{"a":[1,2,{"b":null}],"a":"x"}"#, r#"["x",true,1.5,-1]"#] {
            assert_eq!(json(fine.as_bytes()), Ok(()), "{fine}");
        }
        let many = format!("{{\"{}\":[{}1]}}", "k".repeat(1000), "1,".repeat(4000));
        for bad in ["", "{", "{} {}", "nonsense", &many, &"[".repeat(1000)] {
            assert_eq!(json(bad.as_bytes()), Err(Uninspectable), "{bad:.40}");
        }
    }

    #[test]
    fn xml_has_no_empty_elements_left() {
        let written =
            |text: &str| xml(text.as_bytes()).map(|xml| String::from_utf8(xml).expect("text"));
        assert_eq!(written("<a><b x='>' /></a>"), Ok("<a><b x='>' ></b></a>".to_owned()));
        assert_eq!(
            written("<?xml version=\"1.0\"?><a>t<!-- <x> --></a>"),
            Ok("<?xml version=\"1.0\"?><a>t<!-- <x> --></a>".to_owned())
        );
        let deep = "<a>".repeat(100);
        let long = format!("<{0}>{1}</{0}>", "n".repeat(1000), "<b/>".repeat(1000));
        for bad in ["", "q=1", "</a>", "<a", "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>", &deep, &long] {
            assert_eq!(written(bad), Err(Uninspectable), "{bad:.40}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(body: Vec<u8>) {
            let _judged = (json(&body), xml(&body));
        }

        #[test]
        fn no_tags_do_harm(text in "[<>/!?'\" =a-c\\[\\]-]{0,200}") {
            let _judged = xml(text.as_bytes());
        }
    }
}
