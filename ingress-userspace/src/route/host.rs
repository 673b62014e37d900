use std::{fmt, mem::offset_of, sync::Arc};

use hashbrown::HashMap;
use smol_str::SmolStr;

use super::{
    CompiledRoute, Found, pattern::Patterns, regexes::Regexes, rewrite::CompiledRewrite, tree::Tree,
};
use crate::model::{Diagnostic, Host, HostName, HostTls, PathKind, Route, ServerProgram, Severity};

/// The routes of one host. What every request looks at comes first, and begins a cache line: of ten
/// thousand hosts, the one that is asked for is in no cache.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct HostTable {
    host: Arc<Host>,
    paths: Paths,
    /// Under the name that this table is found by.
    tls: bool,
    has_handshake: bool,
    has_snippet: bool,
    has_whole: bool,
    /// The number of the host, where no route is known; those of its routes follow in their order,
    /// then that of `app_root`. Unlike addresses, numbers are never used again in a process: what is
    /// counted by them can be added up later than the table lives.
    first_number: u64,
    /// Routes of whole paths: `app-root` and, in ordinary mode, those of type Exact. Empty of most.
    whole: HashMap<SmolStr, CompiledRoute>,
    /// Those of `paths`, for the table after this one.
    patterns: Patterns,
    /// What is wrong with the paths of this host.
    diagnostics: Vec<Diagnostic>,
}

const _: () = assert!(offset_of!(HostTable, has_whole) < 64);

#[derive(Clone, Debug)]
enum Paths {
    Ordinary(Tree),
    Regex(Box<Regexes>),
}

impl HostTable {
    /// Compiles the host, taking what patterns it can from an earlier table of it. Its numbers begin
    /// with `first_number`.
    pub(super) fn new(host: &Arc<Host>, earlier: Option<&Self>, first_number: u64) -> Self {
        let earlier = earlier.map(|earlier| &earlier.patterns);
        let mut patterns = Patterns::default();
        let mut diagnostics = Vec::new();
        let mut numbers = first_number + 1..;
        let mut compile = |route: &Arc<Route>| {
            let number = numbers.next().unwrap_or_default();
            compile(route, number, &mut patterns, earlier)
                .inspect_err(|error| diagnostics.push(bad_pattern(route, error)))
                .ok()
        };
        let routes: Vec<_> = host.routes.iter().filter_map(&mut compile).collect();
        let last = first_number + 1 + host.routes.len() as u64;
        let mut whole = HashMap::new();
        if let Some(route) = &host.app_root {
            whole.insert("/".into(), CompiledRoute::plain(Arc::clone(route), last));
        }
        let paths = if host.regex {
            Paths::Regex(Box::new(regexes(host, routes, &mut patterns, earlier, &mut diagnostics)))
        } else {
            let mut tree = Tree::default();
            for compiled in routes {
                match compiled.route.kind {
                    // Of two with one path, the first stays.
                    PathKind::Exact => {
                        whole.entry((*compiled.route.path).into()).or_insert(compiled);
                    }
                    PathKind::Prefix => tree.insert(compiled),
                }
            }
            Paths::Ordinary(tree)
        };
        Self {
            host: Arc::clone(host),
            paths,
            tls: host.tls,
            has_handshake: host.handshake.is_some(),
            has_snippet: host.snippet.is_some(),
            has_whole: !whole.is_empty(),
            first_number,
            whole,
            patterns,
            diagnostics,
        }
    }

    /// The number of the host itself.
    pub(crate) fn first_number(&self) -> u64 {
        self.first_number
    }

    /// The first number after those of this host.
    pub(super) fn next_number(&self) -> u64 {
        self.first_number + 2 + self.host.routes.len() as u64
    }

    /// Which host this is.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.host.name
    }

    /// The host as modelled.
    #[must_use]
    pub fn model(&self) -> &Arc<Host> {
        &self.host
    }

    /// What its handshakes ask for beyond the settings.
    #[must_use]
    pub fn handshake(&self) -> Option<&HostTls> {
        if self.has_handshake { self.host.handshake.as_deref() } else { None }
    }

    /// What its requests go through before their path is looked at.
    #[must_use]
    pub fn snippet(&self) -> Option<&Arc<ServerProgram>> {
        if self.has_snippet { self.host.snippet.as_ref() } else { None }
    }

    /// Some Ingress lists TLS for the host: `ssl-redirect` applies. Under an alias, only where the
    /// certificate covers that.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The same host under a name that has TLS or has not.
    pub(super) fn with_tls(&self, tls: bool) -> Self {
        Self { tls, ..self.clone() }
    }

    /// Where a path leads that was [normalized](super::normalize).
    #[must_use]
    pub fn find(&self, path: &str) -> Found<'_> {
        if self.has_whole
            && let Some(route) = self.whole.get(path)
        {
            return Found::Route(route);
        }
        match &self.paths {
            Paths::Ordinary(tree) => tree.find(path),
            Paths::Regex(regexes) => regexes.find(path),
        }
    }

    pub(super) fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Debug for HostTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostTable").field(&self.host.name).finish()
    }
}

fn compile(
    route: &Arc<Route>,
    number: u64,
    patterns: &mut Patterns,
    earlier: Option<&Patterns>,
) -> Result<CompiledRoute, Arc<str>> {
    let rewrite = match &route.rewrite {
        Some(rewrite) => {
            let pattern = patterns.floating(&route.path, earlier)?;
            Some(Box::new(CompiledRewrite::new(pattern, &rewrite.template)))
        }
        None => None,
    };
    Ok(CompiledRoute { route: Arc::clone(route), number, rewrite })
}

fn regexes(
    host: &Host,
    routes: Vec<CompiledRoute>,
    patterns: &mut Patterns,
    earlier: Option<&Patterns>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Regexes {
    let mut regexes = Regexes::default();
    let has_exact = |path: &str| {
        let mut routes = host.routes.iter();
        routes.any(|route| route.kind == PathKind::Exact && *route.path == *path)
    };
    for compiled in routes {
        let route = &compiled.route;
        let mut texts = Vec::with_capacity(2);
        let plain = !route.use_regex && route.rewrite.is_none() && route.kind == PathKind::Prefix;
        if plain && !route.path.ends_with('/') {
            texts.push(format!("{}/", route.path).into());
        }
        // An Exact route of the same path takes the place of a plain Prefix's own.
        if !(plain && !route.path.ends_with('/') && has_exact(&route.path)) {
            texts.push(Arc::clone(&route.path));
        }
        for text in texts {
            match patterns.anchored(&text, earlier) {
                Ok(pattern) => regexes.push(text, pattern, compiled.clone()),
                Err(error) => {
                    diagnostics.push(bad_pattern(&compiled.route, &error));
                    break;
                }
            }
        }
    }
    regexes.sort();
    regexes
}

fn bad_pattern(route: &Route, error: &str) -> Diagnostic {
    // Of the several lines that the compilers draw, the last says what is wrong.
    let error = error.lines().last().unwrap_or(error).trim_start_matches("error: ");
    Diagnostic {
        severity: Severity::Error,
        object: route.ingress.clone(),
        field: format!("{}.path", route.field),
        message: format!(
            "`{}` is no regular expression, and the host is in regex mode: {error}; \
             this path is not served",
            route.path
        ),
    }
}
