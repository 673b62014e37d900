use std::fmt;

/// Requests that no host answers, by what their headers say (reference section 9.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// `block-user-agents`: values of `User-Agent`.
    pub user_agents: Box<[HeaderPattern]>,
    /// `block-referers`: values of `Referer`.
    pub referers: Box<[HeaderPattern]>,
}

/// A pattern for the value of a header, as NGINX's `map` has them.
#[derive(Clone)]
pub struct HeaderPattern {
    /// As it is written.
    text: Box<str>,
    /// What it means.
    regex: fancy_regex::Regex,
}

/// How often one comparison may backtrack, so that a pattern of exponential cost takes about a
/// millisecond at most.
const BACKTRACK_LIMIT: usize = 50_000;

/// How large a compiled pattern may be. Bytes.
const SIZE_LIMIT: usize = 1 << 20;

impl HeaderPattern {
    /// `~regex`, `~*regex` (any case), or a text, which is compared as a whole and in any case.
    /// The error says what is wrong with the expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pattern, any_case) = match text.strip_prefix('~') {
            Some(regex) => match regex.strip_prefix('*') {
                Some(regex) => (regex.to_owned(), true),
                None => (regex.to_owned(), false),
            },
            None => (format!("^{}\\z", fancy_regex::escape(text)), true),
        };
        let regex = fancy_regex::RegexBuilder::new(&pattern)
            .case_insensitive(any_case)
            .backtrack_limit(BACKTRACK_LIMIT)
            .delegate_size_limit(SIZE_LIMIT)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { text: text.into(), regex })
    }

    /// The value is one of those that are meant. So is one that the matcher gives up on.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value).unwrap_or(true)
    }
}

impl fmt::Debug for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for HeaderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for HeaderPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_nginx_s_map_means() {
        for (pattern, value, matches) in [
            ("curl/8.0", "curl/8.0", true),
            ("curl/8.0", "CURL/8.0", true),
            ("curl/8.0", "curl/8x0", false),
            ("curl", "curl/8.0", false),
            ("~curl", "a curl/8.0", true),
            ("~curl", "a CURL/8.0", false),
            ("~*curl", "a CURL/8.0", true),
            ("~^$", "", true),
            ("~(?<!good)bot", "badbot", true),
            ("~(?<!good)bot", "goodbot", false),
        ] {
            let parsed = HeaderPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.matches(value), matches, "{pattern}: {value}");
        }
        assert!(HeaderPattern::parse("~(").is_err());
    }

    #[test]
    fn what_cannot_be_decided_is_blocked() {
        let pattern = HeaderPattern::parse("~(?!x)(a|a|b)*(?=c)$").expect("a pattern");
        assert!(pattern.matches(&"a".repeat(64)));
    }
}
