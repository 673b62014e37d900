//! "Did you mean": the known word that a mistyped one is nearest to.

/// The nearest of the known words, if it is near enough to have been meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |known: &str| {
        strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &word.to_ascii_lowercase())
    };
    let near = known.into_iter().map(|known| (distance(known), known)).min()?;
    (near.0 <= (word.len() / 4).max(1)).then_some(near.1)
}

/// `; did you mean "pathType"?`, or nothing.
pub(crate) fn question<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or(String::new(), |known| format!("; did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["path", "pathType", "backend"];
        assert_eq!(nearest("pathtype", known), Some("pathType"));
        assert_eq!(nearest("pahtType", known), Some("pathType"));
        assert_eq!(nearest("backends", known), Some("backend"));
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(question("x", []), "");
    }
}
