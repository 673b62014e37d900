//! From the tree of a document to a typed Kubernetes object. Knows, unlike a general deserializer,
//! where in which field something is wrong, and which fields the type does not have.

use std::{cell::RefCell, fmt, slice};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::tree::{Entry, Node, Place, Value};
use crate::suggestion;

/// Something in a field that is not as its type asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FieldFault {
    /// As people write it: `spec.rules[0].host`.
    pub(super) field: String,
    pub(super) place: Place,
    /// Never quotes a value: it may be secret.
    pub(super) message: String,
}

/// The object that the tree stands for, or why it is none; and the fields that its type has not.
pub(super) fn object<T: for<'de> Deserialize<'de>>(
    node: &Node,
) -> (Result<T, FieldFault>, Vec<FieldFault>) {
    let context = Context::default();
    let result = T::deserialize(Reader { node, context: &context });
    let result = result.map_err(|fault| {
        fault.located.unwrap_or_else(|| FieldFault {
            field: String::new(),
            place: node.place,
            message: fault.message,
        })
    });
    (result, context.unknown.into_inner())
}

#[derive(Default)]
struct Context {
    path: RefCell<Vec<Step>>,
    unknown: RefCell<Vec<FieldFault>>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Context {
    fn field(&self) -> String {
        let mut field = String::new();
        for step in &*self.path.borrow() {
            match step {
                Step::Index(index) => field.push_str(&format!("[{index}]")),
                // A key that is itself written with dots, as those of annotations and data are.
                Step::Key(key) if key.contains(['.', '/']) => field.push_str(&format!("[{key}]")),
                Step::Key(key) if field.is_empty() => field.push_str(key),
                Step::Key(key) => field.push_str(&format!(".{key}")),
            }
        }
        field
    }

    /// Reads a part; what is wrong in it is located there unless it was already, deeper inside.
    fn within<T>(
        &self,
        step: Step,
        place: Place,
        read: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.path.borrow_mut().push(step);
        let result = read().map_err(|mut fault| {
            let message = &mut fault.message;
            fault.located.get_or_insert_with(|| FieldFault {
                field: self.field(),
                place,
                message: std::mem::take(message),
            });
            fault
        });
        self.path.borrow_mut().pop();
        result
    }
}

/// The error of serde's traits.
#[derive(Debug)]
struct Fault {
    message: String,
    located: Option<FieldFault>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), located: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("is {}, {expected} was expected", kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("is {} that is not {expected}", kind(found)))
    }
}

/// What was found, without the value that serde would quote.
fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Seq => "a list",
        Unexpected::Unit | Unexpected::Option => "nothing",
        _ => "a map",
    }
}

#[derive(Clone, Copy)]
struct Reader<'t> {
    node: &'t Node,
    context: &'t Context,
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_str(value),
            Value::List(nodes) => {
                visitor.visit_seq(List { nodes: nodes.iter().enumerate(), context: self.context })
            }
            Value::Map(entries) => visitor.visit_map(Map {
                entries: entries.iter(),
                entry: None,
                context: self.context,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            scalar @ (Value::Boolean(_)
            | Value::Integer(_)
            | Value::Unsigned(_)
            | Value::Float(_)) => {
                let kind = scalar.kind();
                Err(Fault::custom(format_args!("is {kind}, text was expected; put it in quotes")))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Value::Map(entries) = &self.node.value {
            for entry in entries.iter().filter(|entry| !fields.contains(&&*entry.key)) {
                let question = suggestion::question(&entry.key, fields.iter().copied());
                let unknown =
                    self.context.within(Step::Key(entry.key.clone()), entry.place, || {
                        Err::<(), _>(Fault::custom(format_args!("is not a field here{question}")))
                    });
                self.context
                    .unknown
                    .borrow_mut()
                    .extend(unknown.err().and_then(|fault| fault.located));
            }
        }
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct List<'t> {
    nodes: std::iter::Enumerate<slice::Iter<'t, Node>>,
    context: &'t Context,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.nodes.next() else { return Ok(None) };
        let context = self.context;
        let read = || seed.deserialize(Reader { node, context });
        context.within(Step::Index(index), node.place, read).map(Some)
    }
}

struct Map<'t> {
    entries: slice::Iter<'t, Entry>,
    entry: Option<&'t Entry>,
    context: &'t Context,
}

impl<'de> MapAccess<'de> for Map<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.entry = self.entries.next();
        let Some(entry) = self.entry else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some(Entry { key, node, .. }) = self.entry.take() else {
            return Err(Fault::custom("a value was asked for before its key"));
        };
        let context = self.context;
        let read = || seed.deserialize(Reader { node, context });
        context.within(Step::Key(key.clone()), node.place, read)
    }
}
