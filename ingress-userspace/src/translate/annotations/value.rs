use std::collections::BTreeMap;

/// As much of an item of a list is quoted. Characters.
const LONGEST_ITEM: usize = 80;

/// The annotations under the prefix of one Ingress, by key without it.
pub(super) struct Values<'i> {
    prefix: &'i str,
    values: BTreeMap<&'i str, String>,
}

/// A value is not of the type that its key asks for; says what is.
pub(in crate::translate) struct Invalid(pub(in crate::translate) &'static str);

impl<'i> Values<'i> {
    /// Strings are trimmed line by line, as ingress-nginx does (reference section 1.1).
    pub(super) fn new(prefix: &'i str, all: Option<&'i BTreeMap<String, String>>) -> Self {
        let under = |(key, value): (&'i String, &String)| {
            let key = key.strip_prefix(prefix)?.strip_prefix('/')?;
            let lines: Vec<_> = value.lines().map(str::trim).collect();
            Some((key, lines.join("\n")))
        };
        Self { prefix, values: all.into_iter().flatten().filter_map(under).collect() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'i str, &str)> {
        self.values.iter().map(|(key, value)| (*key, &**value))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| &**value)
    }

    /// Where a person finds the annotation.
    pub(super) fn field(&self, key: &str) -> String {
        format!("metadata.annotations[{}/{key}]", self.prefix)
    }
}

/// Which item of a list is wrong, behind a colon; nothing where that cannot be told.
pub(in crate::translate) fn culprit<T>(
    value: &str,
    expected: &str,
    parse: fn(&str) -> Result<T, Invalid>,
) -> String {
    if !expected.contains("list") {
        return String::new();
    }
    let items = value.split(if value.contains(',') { ',' } else { ' ' }).map(str::trim);
    let mut wrong = items.filter(|item| !item.is_empty()).filter(|item| parse(item).is_err());
    wrong.next().map_or(String::new(), |item| {
        let short: String = item.chars().take(LONGEST_ITEM).collect();
        let dots = if short.len() < item.len() { "…" } else { "" };
        format!(": `{short}{dots}` is none")
    })
}

/// As Go's `strconv.ParseBool`, which ingress-nginx uses for annotations and its ConfigMap.
pub(in crate::translate) fn boolean(value: &str) -> Result<bool, Invalid> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Invalid("`true` or `false`")),
    }
}
