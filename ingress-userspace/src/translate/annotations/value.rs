use std::collections::BTreeMap;

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

/// As Go's `strconv.ParseBool`, which ingress-nginx uses for annotations and its ConfigMap.
pub(in crate::translate) fn boolean(value: &str) -> Result<bool, Invalid> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Invalid("`true` or `false`")),
    }
}
