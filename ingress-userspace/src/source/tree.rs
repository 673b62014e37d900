//! A YAML document as a tree that remembers where in the file each part is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// How many nodes even a short text may have, after its aliases are expanded.
const SMALLEST_BUDGET: usize = 250_000;

/// Where in a file something is. Both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Of the key.
    pub(super) place: Place,
    pub(super) node: Node,
}

/// Why a text is no YAML. Never quotes a value.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Node {
    /// The tree of one document. `line` is the number of the text's first line in its file.
    pub(super) fn parse(text: &str, line: u64) -> Result<Self, SyntaxError> {
        // Booleans as in YAML 1.2: `on`, `no` and `y` are text, which annotations and names hold.
        // Text without aliases has hardly a node in two bytes. The fixed limits of the parser, of
        // which this keeps the smallest, would refuse a list of some thousand objects.
        let nodes = (text.len() / 2).max(SMALLEST_BUDGET);
        let options = serde_saphyr::options! {
            with_snippet: false,
            strict_booleans: true,
            budget: serde_saphyr::budget! { max_nodes: nodes, max_events: 4 * nodes },
        };
        serde_saphyr::from_str_with_options::<Located>(text, options)
            .map(|Located(mut node)| {
                node.shift(line - 1);
                node
            })
            .map_err(|error| {
                let place = error.location().map(Place::from).unwrap_or_default();
                let place = Place { line: place.line.max(1) + line - 1, ..place };
                // A value that begins with `*` and is not in quotes is taken for an alias.
                let unknown_anchor =
                    matches!(error.without_snippet(), serde_saphyr::Error::UnknownAnchor { .. });
                let message = match unknown_anchor {
                    true => {
                        "an alias has no anchor (put text that begins with `*` in quotes)".into()
                    }
                    false => error.to_string(),
                };
                // The place is said apart.
                let end = message.find(" at line ").or_else(|| message.find(", line "));
                let end = end.or_else(|| message.find(", set DuplicateKeyPolicy"));
                let message = message.get(..end.unwrap_or(message.len())).unwrap_or_default();
                SyntaxError { place, message: message.trim_start_matches("error: ").to_owned() }
            })
    }

    /// What a map has under this key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn shift(&mut self, lines: u64) {
        self.place.line += lines;
        match &mut self.value {
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.shift(lines)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.place.line += lines;
                entry.node.shift(lines);
            }),
            _ => {}
        }
    }
}

impl Value {
    /// What people call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) | Self::Unsigned(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// A node on its way out of the parser.
struct Located(Node);

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Bare(value), referenced, .. } =
            Deserialize::deserialize(deserializer)?;
        Ok(Self(Node { place: referenced.into(), value }))
    }
}

struct Bare(Value);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BareVisitor).map(Self)
    }
}

struct BareVisitor;

impl<'de> Visitor<'de> for BareVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(Located(node)) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, Located(node))) = map.next_entry::<Spanned<String>, _>()? {
            entries.push(Entry { key: key.value, place: key.referenced.into(), node });
        }
        Ok(Value::Map(entries))
    }
}
