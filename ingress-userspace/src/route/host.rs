use std::{fmt, sync::Arc};

use super::{
    CompiledRoute, Found, pattern::Patterns, regexes::Regexes, rewrite::CompiledRewrite, tree::Tree,
};
use crate::model::{Diagnostic, Host, HostName, PathKind, Route, Severity};

/// The routes of one host.
#[derive(Clone)]
pub struct HostTable {
    host: Arc<Host>,
    /// Under the name that this table is found by.
    tls: bool,
    /// The number of the host, where no route is known; those of its routes follow in their order,
    /// then that of `app_root`. Unlike addresses, numbers are never used again in a process: what is
    /// counted by them can be added up later than the table lives.
    first_number: u64,
    app_root: Option<CompiledRoute>,
    paths: Paths,
    /// Those of `paths`, for the table after this one.
    patterns: Patterns,
    /// What is wrong with the paths of this host.
    diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Debug)]
enum Paths {
    Ordinary(Tree),
    Regex(Regexes),
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
        let app_root =
            host.app_root.as_ref().map(|route| CompiledRoute::plain(Arc::clone(route), last));
        let paths = if host.regex {
            Paths::Regex(regexes(host, routes, &mut patterns, earlier, &mut diagnostics))
        } else {
            let mut tree = Tree::default();
            routes.into_iter().for_each(|route| tree.insert(route));
            Paths::Ordinary(tree)
        };
        let (host, tls) = (Arc::clone(host), host.tls);
        Self { host, tls, first_number, app_root, paths, patterns, diagnostics }
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
        match (&self.app_root, &self.paths) {
            (Some(route), _) if path == "/" => Found::Route(route),
            (_, Paths::Ordinary(tree)) => tree.find(path),
            (_, Paths::Regex(regexes)) => regexes.find(path),
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
            Some(CompiledRewrite::new(pattern, &rewrite.template))
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
