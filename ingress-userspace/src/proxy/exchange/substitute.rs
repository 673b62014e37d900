//! `sub_filter`: texts in the body of an answer that are replaced as it passes. Of several that
//! begin at one place the first in the snippet is taken, as by nginx. What may be the beginning of
//! one waits for the bytes behind it; nothing else does.

use crate::model::Needle;

/// How much is made at a time: a short text may be replaced by a long one, many times. Bytes.
const MOST: usize = 64 * 1024;

/// Replaces texts in one body.
pub(in crate::proxy) struct Substituter {
    /// By their precedence.
    rules: Vec<Rule>,
    /// Each is replaced where it is first.
    once: bool,
    /// What has come and is not decided yet.
    data: Vec<u8>,
    /// What of `data` is done with.
    at: usize,
    /// Nothing follows `data`.
    ended: bool,
}

struct Rule {
    needle: Needle,
    replacement: Vec<u8>,
    /// Where it is next in `data`, if that is known.
    found: Option<usize>,
    /// It does not begin before here in `data`, but perhaps at `found`.
    searched: usize,
}

impl Substituter {
    /// Looks for these texts, the first before those behind it.
    pub(in crate::proxy) fn new(
        rules: impl IntoIterator<Item = (Needle, Vec<u8>)>,
        once: bool,
    ) -> Self {
        let rule = |(needle, replacement)| Rule { needle, replacement, found: None, searched: 0 };
        let rules = rules.into_iter().map(rule).collect();
        Self { rules, once, data: Vec::new(), at: 0, ended: false }
    }

    /// These bytes come next.
    pub(in crate::proxy) fn feed(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Nothing comes any more.
    pub(in crate::proxy) fn end(&mut self) {
        self.ended = true;
    }

    /// Appends what is decided to `out`, some of it if it is much. True: there is more.
    pub(in crate::proxy) fn work(&mut self, out: &mut Vec<u8>) -> bool {
        let most = out.len().saturating_add(MOST);
        let mut open = self.open();
        while out.len() < most {
            let next = self.next();
            // A beginning of another that lies in what was replaced is none.
            if open < self.at {
                open = self.open();
            }
            match next {
                Some((place, index)) if place < open => {
                    out.extend_from_slice(self.data.get(self.at..place).unwrap_or_default());
                    if let Some(rule) = self.rules.get(index) {
                        out.extend_from_slice(&rule.replacement);
                        self.at = place + rule.needle.len();
                    }
                    if self.once {
                        self.rules.remove(index);
                        open = self.open();
                    }
                }
                _ => {
                    out.extend_from_slice(self.data.get(self.at..open).unwrap_or_default());
                    self.at = open;
                    self.forget();
                    return false;
                }
            }
        }
        true
    }

    /// From where on more bytes could still tell something else.
    fn open(&self) -> usize {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let begun = match self.ended {
            true => 0,
            false => self.rules.iter().map(|rule| rule.needle.begun(rest)).max().unwrap_or(0),
        };
        self.data.len() - begun
    }

    /// Where the next text is, and which.
    fn next(&mut self) -> Option<(usize, usize)> {
        let (data, at) = (&self.data, self.at);
        let places = self
            .rules
            .iter_mut()
            .enumerate()
            .filter_map(|(index, rule)| rule.find(data, at).map(|place| (place, index)));
        places.min()
    }

    /// What is done with goes.
    fn forget(&mut self) {
        let gone = self.at;
        self.data.drain(..gone.min(self.data.len()));
        self.at = 0;
        for rule in &mut self.rules {
            rule.found = rule.found.and_then(|found| found.checked_sub(gone));
            rule.searched = rule.searched.saturating_sub(gone);
        }
    }
}

impl Rule {
    fn find(&mut self, data: &[u8], at: usize) -> Option<usize> {
        if self.found.is_none_or(|found| found < at) {
            self.found = self.needle.find(data, self.searched.max(at));
            self.searched = match self.found {
                Some(found) => found + 1,
                // One may begin in the last bytes.
                None => (data.len() + 1).saturating_sub(self.needle.len()),
            };
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn substituter(rules: &[(String, String)], once: bool) -> Substituter {
        let rule = |(needle, replacement): &(String, String)| {
            (Needle::new(needle).expect("a text"), replacement.clone().into_bytes())
        };
        Substituter::new(rules.iter().map(rule), once)
    }

    /// The rule, one place after the other.
    fn expected(rules: &[(String, String)], once: bool, text: &str) -> String {
        let (mut rules, low) = (rules.to_vec(), text.to_ascii_lowercase());
        let (mut at, mut out) = (0, String::new());
        while at < text.len() {
            let is_here = |(needle, _): &(String, String)| {
                low[at..].starts_with(&needle.to_ascii_lowercase())
            };
            match rules.iter().position(is_here) {
                Some(index) => {
                    out += &rules[index].1;
                    at += rules[index].0.len();
                    if once {
                        rules.remove(index);
                    }
                }
                None => {
                    out.push_str(&text[at..=at]);
                    at += 1;
                }
            }
        }
        out
    }

    #[test]
    fn nothing_waits_that_is_decided() {
        let rules = [("</head>".to_owned(), "X".to_owned())];
        let mut own = substituter(&rules, false);
        let mut out = Vec::new();
        own.feed(b"data: <</HE");
        assert!(!own.work(&mut out));
        assert_eq!(out, b"data: <");
        own.feed(b"AD><");
        assert!(!own.work(&mut out));
        assert_eq!(out, b"data: <X");
        own.end();
        assert!(!own.work(&mut out));
        assert_eq!(out, b"data: <X<");
    }

    #[test]
    fn what_grows_is_made_in_parts() {
        let rules = [("a".to_owned(), "b".repeat(1000))];
        let mut own = substituter(&rules, false);
        own.feed(&[b'a'; 32 * 1024]);
        own.end();
        let (mut total, mut parts, mut more) = (0, 0, true);
        while more {
            let mut out = Vec::new();
            more = own.work(&mut out);
            assert!(out.len() <= MOST + 1000);
            (total, parts) = (total + out.len(), parts + 1);
        }
        assert_eq!(total, 1000 * 32 * 1024);
        assert!(parts > 400);
    }

    proptest! {
        #[test]
        fn parts_of_any_size_give_the_same(
            rules in prop::collection::vec(("[abA]{1,4}", "[a-cX]{0,3}"), 1..4),
            once: bool,
            text in "[abAB]{0,60}",
            part in 1..9usize,
        ) {
            let mut own = substituter(&rules, once);
            let mut out = Vec::new();
            for part in text.as_bytes().chunks(part) {
                own.feed(part);
                while own.work(&mut out) {}
                let longest = rules.iter().map(|(needle, _)| needle.len()).max().unwrap_or(0);
                prop_assert!(own.data.len() < longest, "only what has begun is kept");
            }
            own.end();
            while own.work(&mut out) {}
            prop_assert_eq!(String::from_utf8_lossy(&out), expected(&rules, once, &text));
        }
    }
}
