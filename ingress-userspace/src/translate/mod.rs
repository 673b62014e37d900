//! From Kubernetes objects to the [`Model`]: pure, no I/O, no clock, never awaits. What it cannot
//! understand becomes a [`Diagnostic`] and takes nothing else down; what asks for protection that
//! Penstock does not give yet is denied, never served without it.

mod options;

pub use options::Options;

use std::sync::Arc;

use crate::{
    model::{Diagnostic, Model},
    stores::Stores,
};

/// What the objects of one moment amount to.
#[derive(Clone, Debug)]
pub struct Translation {
    /// What is served. Parts that did not change are the same allocation as in the one before.
    pub model: Arc<Model>,
    /// What is not served as written, sorted; the whole list, not only what is new.
    pub diagnostics: Vec<Diagnostic>,
}

/// Translates and remembers what need not be done again.
#[derive(Debug)]
pub struct Translator {
    options: Options,
}

impl Translator {
    /// A translator that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// The model of these objects.
    pub fn translate(&mut self, _stores: &Stores) -> Translation {
        let _ = &self.options;
        Translation { model: Arc::default(), diagnostics: Vec::new() }
    }
}
