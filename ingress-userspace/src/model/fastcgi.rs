use std::sync::Arc;

use super::Variable;

/// How a FastCGI application is asked (`backend-protocol: FCGI`, reference section 1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastCgi {
    /// `fastcgi-index`: the file that a path with a final slash stands for.
    pub index: Option<Arc<str>>,
    /// What the application is told beside the fields of the request, which follow as `HTTP_*`;
    /// sorted by name, no two equal. Without `CONTENT_LENGTH`, which is that of the body.
    pub parameters: Box<[FastCgiParameter]>,
}

/// One parameter of FastCGI: a variable of the application's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastCgiParameter {
    /// Letters, digits and underscores.
    pub name: Arc<str>,
    /// Its value, in pieces; of none: empty.
    pub value: Box<[FastCgiPiece]>,
    /// It is not sent where its value is empty (nginx's `if_not_empty`).
    pub optional: bool,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FastCgiPiece {
    /// Itself.
    Text(Arc<str>),
    /// What the request has for a variable.
    Variable(FastCgiVariable),
}

/// A variable of nginx that values for FastCGI can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FastCgiVariable {
    /// `$fastcgi_script_name`: the path and, after a final slash, the index.
    ScriptName,
    /// `$uri`, `$document_uri`: the path that the application is asked for, decoded and normalised.
    Uri,
    /// `$server_protocol`: `HTTP/1.1`.
    ServerProtocol,
    /// `$https`: `on` over TLS.
    Https,
    /// `$remote_user`: who has proved to be that by `auth-type: basic`. In nginx whoever claims it.
    RemoteUser,
    /// Those of all texts.
    Request(Variable),
}
