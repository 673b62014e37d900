//! What a question says after `?`: which things are wanted, and which page of them.

use serde_json::{Value, json};

use super::Refusal;

/// Things of a page unless the question says otherwise.
const PER: usize = 50;
/// The most.
const MOST: usize = 1000;
/// Parameters of a question.
const PARAMETERS: usize = 64;

/// The parameters of a question.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes())
            .take(PARAMETERS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        match pairs.len() > PARAMETERS {
            true => Err(Refusal::Query(format!("more than {PARAMETERS} parameters"))),
            false => Ok(Self(pairs)),
        }
    }

    /// Refuses what is none of these names: who misspells a filter is not to be told everything.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known = names.join(", ");
                Err(Refusal::Query(format!("no such parameter: {name:?}; there are {known}")))
            }
        }
    }

    /// The value of a parameter that is given once at most; an empty one is none.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut all = self.all(name);
        let value = all.next();
        match all.next() {
            Some(_) => Err(Refusal::Query(format!("{name} is given twice"))),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// One of these values; the first if none is given.
    pub(super) fn choice<'n>(&self, name: &str, values: &[&'n str]) -> Result<&'n str, Refusal> {
        let given = self.one(name)?;
        let chosen = match given {
            None => values.first(),
            Some(given) => values.iter().find(|value| **value == given),
        };
        chosen.copied().ok_or_else(|| {
            Refusal::Query(format!(
                "{name}={} is none of {}",
                given.unwrap_or(""),
                values.join(", ")
            ))
        })
    }

    pub(super) fn number(&self, name: &str, default: usize, most: usize) -> Result<usize, Refusal> {
        match self.one(name)? {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| Refusal::Query(format!("{name}={text}: 1 to {most} is allowed"))),
        }
    }

    /// What `q`, `page` and `per` say.
    pub(super) fn page(&self) -> Result<Page, Refusal> {
        let page = self.number("page", 1, usize::MAX / MOST)?;
        let per = self.number("per", PER, MOST)?;
        Ok(Page {
            words: Words::of(self.one("q")?.unwrap_or_default()),
            page,
            per,
            skip: (page - 1) * per,
            total: 0,
            items: Vec::new(),
        })
    }
}

/// Takes the things of one page out of all that match.
#[derive(Debug)]
pub(super) struct Page {
    words: Words,
    page: usize,
    per: usize,
    skip: usize,
    total: usize,
    items: Vec<Value>,
}

impl Page {
    /// The words that all have to be found in what a thing is about.
    pub(super) fn words(&self) -> &Words {
        &self.words
    }

    /// Another thing that matches; it is made only where it is on the page.
    pub(super) fn add(&mut self, make: impl FnOnce() -> Value) {
        if self.has_next() {
            self.items.push(make());
        }
    }

    /// Another thing matches. True: it is on the page.
    pub(super) fn has_next(&mut self) -> bool {
        let place = self.total;
        self.total += 1;
        place.checked_sub(self.skip).is_some_and(|place| place < self.per)
    }

    /// The things that are on the page, where they were not made at once.
    pub(super) fn fill(&mut self, items: impl IntoIterator<Item = Value>) {
        self.items.extend(items);
    }

    /// The page, of what was served as this generation.
    pub(super) fn finish(self, generation: u64) -> Value {
        json!({
            "generation": generation,
            "total": self.total,
            "page": self.page,
            "per": self.per,
            "items": self.items,
        })
    }
}

/// What is looked for: words, each of which has to be found, whatever its case.
#[derive(Debug)]
pub(super) struct Words(Vec<Box<[u8]>>);

impl Words {
    fn of(text: &str) -> Self {
        Self(text.split_whitespace().map(|word| word.as_bytes().into()).collect())
    }

    /// Nothing is looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each is found in one of these texts.
    pub(super) fn are_in(&self, texts: &[&str]) -> bool {
        self.0.iter().all(|word| texts.iter().any(|text| has(text, word)))
    }
}

fn has(text: &str, word: &[u8]) -> bool {
    // A word is not empty.
    text.as_bytes().windows(word.len().max(1)).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).expect("few parameters")
    }

    #[test]
    fn a_page_is_cut_out_of_what_matches() {
        let mut page = query("page=2&per=3&q=b+A").page().expect("it is right");
        assert!(page.words().are_in(&["xxa", "B"]));
        assert!(!page.words().are_in(&["xxa"]));
        (0..8).for_each(|number| page.add(|| json!(number)));
        let page = page.finish(7);
        assert_eq!(
            page,
            json!({ "generation": 7, "total": 8, "page": 2, "per": 3, "items": [3, 4, 5] })
        );
        let mut last = query("page=9").page().expect("it is right");
        last.add(|| json!(1));
        assert_eq!(last.finish(1)["items"], json!([]));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "page=0",
            "page=x",
            "per=1001",
            "per=-1",
            "page=1&page=2",
            "page=999999999999999999999",
        ] {
            assert!(query(text).page().is_err(), "{text}");
        }
        assert!(query("hots=a").only(&["host"]).is_err());
        assert!(query("by=x").choice("by", &["a", "b"]).is_err());
        assert_eq!(query("").choice("by", &["a", "b"]).expect("the first"), "a");
        assert!(Query::parse(&"a&".repeat(65)).is_err());
        assert_eq!(query("q=&host=").one("host").expect("one"), None);
    }
}
