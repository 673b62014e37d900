use std::borrow::Cow;

/// Why a request's path cannot be understood: the answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    #[error("path has a percent sign without two hexadecimal digits")]
    Escape,
    /// It holds a NUL, plain or escaped.
    #[error("path holds a NUL")]
    Nul,
    /// Its `..` segments lead out of the root.
    #[error("path leads out of the root")]
    AboveRoot,
}

/// The path that rules are compared with.
///
/// # Errors
/// [`BadPath`].
pub fn normalize(raw_path: &str) -> Result<Cow<'_, str>, BadPath> {
    Ok(Cow::Borrowed(raw_path))
}
