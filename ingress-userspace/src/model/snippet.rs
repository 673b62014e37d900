//! What snippets of nginx configuration amount to: typed steps and effects. nginx's own order and
//! inheritance are in the shape of these values; no text of a configuration is left in them.

use std::sync::Arc;

use super::{AddressRange, BodyEffects, Variable};
use crate::expression::{Case, Expression, Groups, Undecided};

/// A compiled regular expression. Two of one text are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    expression: Expression,
    names: Box<[(usize, Arc<str>)]>,
}

impl Pattern {
    /// Compiles it; `insensitive`: without regard to case.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str, insensitive: bool) -> Result<Self, String> {
        let case = if insensitive { Case::Ignored } else { Case::Told };
        let expression = Expression::new(text, case)?;
        let names = expression.names().map(|(group, name)| (group, name.into())).collect();
        Ok(Self { expression, names })
    }

    /// The groups that have a name, by their numbers: what they match becomes a variable.
    #[must_use]
    pub fn names(&self) -> &[(usize, Arc<str>)] {
        &self.names
    }

    /// The groups of the first match.
    ///
    /// # Errors
    /// The expression could not be decided in time.
    pub fn groups(&self, text: &str) -> Result<Option<Groups>, Undecided> {
        self.expression.groups(text)
    }
}

/// A text with variables and the groups of the last expression that matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// In their order.
    pub parts: Box<[Part]>,
}

/// A part of a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Itself.
    Text(Arc<str>),
    /// What the request has for it.
    Variable(Variable),
    /// `$1` to `$9`.
    Group(usize),
    /// What a `set` made.
    Own(Arc<str>),
    /// `$http_host`, `$best_http_host`: the host and port as the client wrote them.
    Authority,
    /// `$remote_user`: the name that the request gives for basic authentication.
    RemoteUser,
    /// `$is_args`: `?` if there is a query.
    QuestionMark,
    /// `$https`: `on` over TLS.
    Https,
    /// `$status`, of an answer.
    Status,
    /// `$upstream_http_*`, of an endpoint's answer.
    Upstream(Arc<str>),
    /// What an `auth_request_set` made of what the server of `auth-url` said.
    Judged(Judged),
}

/// A part of the answer of the server of `auth-url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// `$upstream_status`.
    Status,
    /// `$upstream_http_*`: a field; lower case, with dashes.
    Header(Arc<str>),
    /// `$upstream_cookie_*`: what a cookie is set to.
    Cookie(Arc<str>),
}

impl Judged {
    /// The field that says it, if one does.
    #[must_use]
    pub fn field(&self) -> Option<Arc<str>> {
        match self {
            Self::Status => None,
            Self::Header(name) => Some(Arc::clone(name)),
            Self::Cookie(_) => Some("set-cookie".into()),
        }
    }
}

impl Part {
    /// It is known only once there is an answer.
    #[must_use]
    pub fn is_of_answer(&self) -> bool {
        matches!(self, Self::Status | Self::Upstream(_))
    }

    /// It is known only once the server of `auth-url` was asked.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        matches!(self, Self::Judged(_))
    }
}

/// A step of nginx's rewrite phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `set $name value;`
    Set(Arc<str>, Value),
    /// `set $args value;`
    SetArgs(Value),
    /// `break;`
    Break,
    /// `return …;`
    Return(Return),
    /// `rewrite …;`
    Rewrite(RewriteStep),
    /// `if (…) { … }`
    If {
        /// When.
        condition: Condition,
        /// The effects that hold from then on, by their place in [`Program::contexts`]; `None` at the
        /// level of the server, where a condition changes none.
        context: Option<usize>,
        /// What else is done.
        steps: Box<[Step]>,
    },
}

/// `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The status; 444 closes the connection without an answer.
    pub status: u16,
    /// Where to of a redirect, else the body. `None`: nginx's page for the status.
    pub text: Option<Value>,
}

/// `rewrite`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteStep {
    /// What the decoded path must match.
    pub pattern: Pattern,
    /// The new path, decoded; of a redirect, where to, with its query.
    pub path: Value,
    /// The new query of one that is no redirect.
    pub args: Option<Value>,
    /// The client's query is added.
    pub keep_args: bool,
    /// A redirect's own text has a query.
    pub has_args: bool,
    /// What comes next.
    pub then: Jump,
}

/// What follows a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// The next step; at the end the new path is looked up.
    Continue,
    /// `last`: the new path is looked up at once.
    Last,
    /// `break`: no further step, the location stays.
    Break,
    /// `redirect`, `permanent`: an answer of this status.
    Redirect(u16),
}

/// What stands between the parentheses of `if`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The variable that is looked at.
    pub left: Part,
    /// What is asked of it.
    pub test: Test,
}

/// What is asked of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is neither empty nor `0`.
    IsSet,
    /// `=` and `!=`.
    Equals {
        /// With what it is compared.
        right: Value,
        /// It must differ.
        not: bool,
    },
    /// `~`, `~*`, `!~`, `!~*`.
    Matches {
        /// The expression.
        pattern: Pattern,
        /// It must not match.
        not: bool,
    },
}

/// What holds for a request in one context of nginx (a server, a location, an `if` in one). `None`
/// is what the context around it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// `more_set_headers`, `more_clear_headers`: after those of the context around.
    pub rules: Vec<FieldRule>,
    /// `add_header`.
    pub added: Option<Vec<Added>>,
    /// `proxy_hide_header`, lower case.
    pub hidden: Option<Vec<Arc<str>>>,
    /// `expires`.
    pub expires: Option<Expires>,
    /// `more_set_input_headers`, `more_clear_input_headers`: likewise after those around.
    pub input: Vec<InputRule>,
    /// `proxy_set_header` of a location, beside those that every location has; says nothing to
    /// endpoints that speak gRPC.
    pub to_upstream: Option<Vec<(Arc<str>, Value)>>,
    /// `grpc_set_header`, for those that do.
    pub to_grpc: Option<Vec<(Arc<str>, Value)>>,
    /// `allow` and `deny`: the first that holds the address decides.
    pub access: Option<Vec<Access>>,
    /// `limit_except … { deny all; }`: the methods that stay allowed.
    pub methods: Option<Vec<Arc<str>>>,
    /// `error_page`.
    pub error_pages: Option<Vec<ErrorPage>>,
    /// `proxy_intercept_errors`: pages stand in the place of endpoints' answers too.
    pub intercepts: Option<bool>,
    /// `default_type`.
    pub content_type: Option<Arc<str>>,
    /// `proxy_pass_request_headers off`.
    pub drop_fields: Option<bool>,
    /// `underscores_in_headers`.
    pub underscores: Option<bool>,
    /// What is done to bodies.
    pub body: BodyEffects,
}

impl Effects {
    /// Takes from the context around what it does not say itself, by nginx's rules for each.
    pub fn inherit(&mut self, around: &Self) {
        let mut rules = around.rules.clone();
        rules.append(&mut self.rules);
        self.rules = rules;
        let mut input = around.input.clone();
        input.append(&mut self.input);
        self.input = input;
        fn or<T: Clone>(own: &mut Option<T>, around: &Option<T>) {
            if own.is_none() {
                own.clone_from(around);
            }
        }
        or(&mut self.added, &around.added);
        or(&mut self.hidden, &around.hidden);
        or(&mut self.expires, &around.expires);
        or(&mut self.to_upstream, &around.to_upstream);
        or(&mut self.to_grpc, &around.to_grpc);
        or(&mut self.access, &around.access);
        or(&mut self.methods, &around.methods);
        or(&mut self.error_pages, &around.error_pages);
        or(&mut self.intercepts, &around.intercepts);
        or(&mut self.content_type, &around.content_type);
        or(&mut self.drop_fields, &around.drop_fields);
        or(&mut self.underscores, &around.underscores);
        self.body.inherit(&around.body);
    }
}

/// `error_page`: what stands in the place of the page of a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Which.
    pub code: u16,
    /// The status that the client gets; `None`: that of what stands there (`=`).
    pub status: Option<u16>,
    /// What stands there.
    pub to: PageTarget,
}

/// Where the page of an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageTarget {
    /// A whole URL: the client is sent there.
    Url(Value),
    /// A path of the host, perhaps with a query.
    Path(Value),
    /// A location with a name.
    Named(Arc<str>),
}

/// `more_set_headers`, `more_clear_headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// The field; its beginning, if [`Self::prefix`].
    pub name: Arc<str>,
    /// All fields that begin so: `more_clear_headers "X-*"`.
    pub prefix: bool,
    /// What it is to say; `None`, or empty: it is removed.
    pub value: Option<Value>,
    /// `-s`: only of answers with one of these statuses, if there is any.
    pub statuses: Box<[u16]>,
    /// `-t`: only of answers of one of these types, if there is any. Lower case.
    pub types: Box<[Arc<str>]>,
}

/// `more_set_input_headers`, `more_clear_input_headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRule {
    /// The field; its beginning, if [`Self::prefix`].
    pub name: Arc<str>,
    /// All fields that begin so.
    pub prefix: bool,
    /// What it is to say; `None`, or empty: it is removed.
    pub value: Option<Value>,
    /// `-r`: only if the request has it.
    pub replace: bool,
}

/// `add_header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The field.
    pub name: Arc<str>,
    /// What it says; nothing is added that is empty.
    pub value: Value,
    /// Whatever the status.
    pub always: bool,
}

/// `expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expires {
    /// `off`.
    Off,
    /// `epoch`: long ago.
    Epoch,
    /// `max`: in the year 2037.
    Max,
    /// So many seconds from now; negative: not to be kept.
    After(i64),
}

/// `allow` and `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// `None`: `all`.
    pub range: Option<AddressRange>,
    /// Whether these may ask.
    pub allowed: bool,
}

/// What the requests of a location go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The rewrite phase.
    pub steps: Arc<[Step]>,
    /// What holds at first, then what holds in each `if` that is true. Never empty.
    pub contexts: Vec<Effects>,
}

impl Program {
    /// It does nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let idle = Effects::default();
        self.steps.is_empty() && self.contexts.iter().all(|context| *context == idle)
    }

    /// The same beneath a server that says this.
    #[must_use]
    pub fn beneath(&self, server: &Effects) -> Self {
        let mut contexts = self.contexts.clone();
        let (first, ifs) = match contexts.split_first_mut() {
            Some(split) => split,
            None => return Self { steps: Arc::clone(&self.steps), contexts: vec![server.clone()] },
        };
        first.inherit(server);
        for context in ifs {
            context.inherit(first);
        }
        Self { steps: Arc::clone(&self.steps), contexts }
    }
}

/// What the requests of a host go through, before their path is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerProgram {
    /// The rewrite phase of the server.
    pub steps: Arc<[Step]>,
    /// What holds for all its paths.
    pub effects: Effects,
    /// Locations of its own, in the order of the text.
    pub locations: Vec<SnippetLocation>,
}

/// `location … { … }` of a `server-snippet`: answers by itself, reaches no Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetLocation {
    /// Which paths.
    pub matching: Matching,
    /// `internal`: not for clients to ask for, only for rewrites and pages of errors.
    pub internal: bool,
    /// What is done with them.
    pub program: Program,
}

/// How a location of a snippet is compared with the decoded path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// `=`.
    Exact(Arc<str>),
    /// No sign, or `^~`.
    Prefix {
        /// What paths begin with.
        path: Arc<str>,
        /// `^~`: no expression is tried.
        is_final: bool,
    },
    /// `~`, `~*`.
    Pattern(Pattern),
    /// `@name`: no path at all.
    Named(Arc<str>),
}
