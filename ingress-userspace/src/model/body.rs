//! What snippets do to the bodies of answers: `sub_filter` and `gzip`.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use super::{Coding, Compression, MediaTypes, Value, takes};

/// What nginx's defaults are where the ConfigMap's `use-gzip` is off.
const GZIP: Coding = Coding { level: 1, min_length: 20, types: None };

/// What one context says about bodies. `None` is what the context around it says, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyEffects {
    /// `sub_filter`, in the order of the text.
    pub substitutions: Option<Vec<Substitution>>,
    /// `sub_filter_once`; on, if nobody says it.
    pub once: Option<bool>,
    /// `sub_filter_types`, beside `text/html`.
    pub types: Option<MediaTypes>,
    /// `sub_filter_last_modified`: what tells versions of a body apart stays.
    pub keep_modified: Option<bool>,
    /// `gzip`.
    pub gzip: Option<bool>,
    /// `gzip_comp_level`, 1 to 9.
    pub gzip_level: Option<u32>,
    /// `gzip_min_length`. Bytes.
    pub gzip_min_length: Option<u64>,
    /// `gzip_types`, beside `text/html`.
    pub gzip_types: Option<MediaTypes>,
}

impl BodyEffects {
    /// Takes from the context around what it does not say itself.
    pub fn inherit(&mut self, around: &Self) {
        fn or<T: Clone>(own: &mut Option<T>, around: &Option<T>) {
            if own.is_none() {
                own.clone_from(around);
            }
        }
        or(&mut self.substitutions, &around.substitutions);
        or(&mut self.once, &around.once);
        or(&mut self.types, &around.types);
        or(&mut self.keep_modified, &around.keep_modified);
        or(&mut self.gzip, &around.gzip);
        or(&mut self.gzip_level, &around.gzip_level);
        or(&mut self.gzip_min_length, &around.gzip_min_length);
        or(&mut self.gzip_types, &around.gzip_types);
    }

    /// What is replaced in a body of this type.
    #[must_use]
    pub fn substitutions(&self, content_type: &[u8]) -> &[Substitution] {
        let html = MediaTypes::Some(Arc::default());
        let types = self.types.as_ref().unwrap_or(&html);
        match &self.substitutions {
            // `*` takes those without a type too.
            Some(all) if types.is_none() || takes(types, content_type) => all,
            _ => &[],
        }
    }

    /// How answers are compressed where `base` is what the ConfigMap says; `None`: as that says.
    #[must_use]
    pub fn compression(&self, base: Option<&Compression>) -> Option<Compression> {
        let Self { gzip, gzip_level, gzip_min_length, gzip_types, .. } = self;
        if (gzip, gzip_level, gzip_min_length, gzip_types) == (&None, &None, &None, &None) {
            return None;
        }
        let base = base.cloned().unwrap_or_default();
        let is_on = gzip.unwrap_or(base.gzip.is_some());
        let mut coding =
            base.gzip.unwrap_or_else(|| Coding { types: Some(Arc::default()), ..GZIP });
        coding.level = gzip_level.unwrap_or(coding.level);
        coding.min_length = gzip_min_length.unwrap_or(coding.min_length);
        coding.types = gzip_types.clone().unwrap_or(coding.types);
        Some(Compression { gzip: is_on.then_some(coding), ..base })
    }
}

/// `sub_filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    /// What is looked for.
    pub needle: Needle,
    /// What stands there instead.
    pub replacement: Value,
}

/// A text that is looked for in bodies, whatever the case of its ASCII letters.
#[derive(Clone, Debug)]
pub struct Needle {
    /// In lower case.
    text: Arc<[u8]>,
    finder: Regex,
    /// For each length of a beginning of the text, how long its longest other beginning is that it
    /// ends with (the failure function of Knuth, Morris and Pratt).
    borders: Arc<[usize]>,
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Needle {}

impl Needle {
    /// The longest that there can be. Bytes; as many of a body wait until they are decided.
    pub const LONGEST: usize = 1024;

    /// Looks for this text.
    ///
    /// # Errors
    /// It is empty or too long.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("looks for an empty text".to_owned());
        }
        if text.len() > Self::LONGEST {
            return Err(format!("looks for more than {} bytes", Self::LONGEST));
        }
        let finder = RegexBuilder::new(&regex::escape(text))
            .unicode(false)
            .case_insensitive(true)
            .build()
            .map_err(|_too_large| "looks for a text that is too long".to_owned())?;
        let text: Arc<[u8]> = text.to_ascii_lowercase().into_bytes().into();
        let mut borders = vec![0; text.len() + 1];
        let mut border = 0;
        for at in 1..text.len() {
            while border > 0 && text[border] != text[at] {
                border = borders[border];
            }
            border += usize::from(text[border] == text[at]);
            borders[at + 1] = border;
        }
        Ok(Self { text, finder, borders: borders.into() })
    }

    /// How long it is. Bytes, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Where it first is at or behind this place.
    #[must_use]
    pub fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let found = self.finder.find(bytes.get(from..)?)?;
        Some(from + found.start())
    }

    /// How many of the last bytes may be the beginning of one that goes on behind them; never a
    /// whole one. Takes time in proportion to the needle, whatever the bytes.
    #[must_use]
    pub fn begun(&self, bytes: &[u8]) -> usize {
        let last = bytes.len().saturating_sub(self.text.len() - 1);
        let mut border = 0;
        for byte in bytes.get(last..).unwrap_or_default() {
            let byte = byte.to_ascii_lowercase();
            while border > 0 && self.text.get(border) != Some(&byte) {
                border = self.borders.get(border).copied().unwrap_or(0);
            }
            border += usize::from(self.text.get(border) == Some(&byte));
        }
        border
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_has_begun_is_the_longest_beginning() {
        for (needle, bytes, begun) in [
            ("abc", "xxab", 2),
            ("abc", "xxABC", 0),
            ("aab", "aaa", 2),
            ("abab", "xaba", 3),
            ("a", "a", 0),
            ("</head>", "<</HE", 4),
            ("ab", "", 0),
        ] {
            let own = Needle::new(needle).expect("a text");
            assert_eq!(own.begun(bytes.as_bytes()), begun, "{needle} {bytes}");
        }
        assert!(Needle::new("").is_err());
        assert!(Needle::new(&"a".repeat(Needle::LONGEST + 1)).is_err());
    }

    #[test]
    fn what_a_snippet_does_not_say_of_compression_the_configmap_says() {
        let own = |gzip, gzip_level| BodyEffects { gzip, gzip_level, ..BodyEffects::default() };
        let base = Coding { level: 5, min_length: 256, types: None };
        let base = Compression { gzip: Some(base), brotli: None };
        assert_eq!(own(None, None).compression(Some(&base)), None);
        let off = own(Some(false), None).compression(Some(&base)).expect("said");
        assert_eq!(off.gzip, None);
        let on = own(Some(true), Some(9)).compression(Some(&base)).and_then(|own| own.gzip);
        assert_eq!(on.map(|own| (own.level, own.min_length)), Some((9, 256)));
        let on = own(Some(true), None).compression(None).and_then(|own| own.gzip).expect("on");
        assert_eq!((on.level, on.min_length), (1, 20));
        assert!(on.takes(b"text/html; charset=utf-8") && !on.takes(b"text/plain"));
        // A level alone switches nothing on.
        assert_eq!(own(None, Some(9)).compression(None), Some(Compression::default()));
    }

    proptest! {
        #[test]
        fn a_needle_is_found_as_by_comparison(needle in "[abA]{1,5}", bytes in "[abAB]{0,40}") {
            let own = Needle::new(&needle).expect("a text");
            let (low, needle) = (bytes.to_ascii_lowercase(), needle.to_ascii_lowercase());
            prop_assert_eq!(own.find(bytes.as_bytes(), 0), low.find(&needle));
            let begun = (0..needle.len()).rev().find(|length| low.ends_with(&needle[..*length]));
            prop_assert_eq!(own.begun(bytes.as_bytes()), begun.unwrap_or(0));
        }
    }
}
