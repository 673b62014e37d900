//! From the Ingresses, oldest first, to hosts and routes (reference section 3.5).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec,
};

use super::{
    Options,
    aliases::{Aliases, Settling},
    annotations::{Annotations, Balances, Lookup, read_canary},
    authority::Authorities,
    backends::Backends,
    canary::Canaries,
    config::Config,
    error_pages::FirstPorts,
    host::{HostParts, deny},
    references::MOST_TLS,
    report::Report,
    rule::{Fault, backend_key, host_name, path_of},
    tls::Certificates,
    upstream_tls,
    users::UserLists,
};
use crate::{
    expression::Expressions,
    model::{
        BackendId, BackendKey, CertificateId, ClientAuth, Denial, Diagnostic, ExternalAuth, Host,
        HostName, HostTls, HttpsRedirect, ObjectRef, Passthrough, PathKind, Policies, Proxying,
        RedirectForm, Rewrite, Route, Target, UpstreamTls, VerifyClient,
    },
    stores::{Key, Stores},
};

/// Collects what the Ingresses amount to.
pub(super) struct Assembly<'a> {
    pub(super) options: &'a Options,
    pub(super) config: &'a Config,
    pub(super) stores: &'a Stores,
    pub(super) certificates: &'a mut Certificates,
    pub(super) authorities: &'a mut Authorities,
    pub(super) users: &'a mut UserLists,
    pub(super) backends: Backends,
    /// `--default-backend-service`.
    pub(super) global_backend: Option<BackendId>,
    pub(super) first_ports: FirstPorts,
    pub(super) hosts: BTreeMap<HostName, HostParts>,
    /// What unknown hosts and paths lead to.
    global: Route,
    canaries: Canaries,
    aliases: Aliases,
    /// What the Ingress before asked of its backends: mostly the same.
    balances: Option<Arc<Balances>>,
    /// The TLS of wildcard hosts of Ingresses that are not added, by what follows `*.`.
    beside: HashMap<Arc<str>, Option<Option<CertificateId>>>,
}

/// One Ingress while it is added.
pub(super) struct Current<'i> {
    pub(super) key: &'i Key,
    pub(super) object: ObjectRef,
    pub(super) ingress: &'i Ingress,
    pub(super) spec: &'i IngressSpec,
    pub(super) annotations: Annotations,
    /// TLS to endpoints: `proxy-ssl-secret` of this Ingress.
    pub(super) upstream_tls: Option<Result<UpstreamTls, Denial>>,
    /// What it asks of its hosts' handshakes.
    pub(super) handshake: HostTls,
    /// What it asks of its backends.
    balances: Arc<Balances>,
}

/// What Secrets came to before.
type Known<'a> = (&'a mut Certificates, &'a mut Authorities, &'a mut UserLists);

impl<'a> Assembly<'a> {
    pub(super) fn new(
        options: &'a Options,
        config: &'a Config,
        stores: &'a Stores,
        (certificates, authorities, users): Known<'a>,
        default_backend: Option<&BackendKey>,
        mut backends: Backends,
        beside: HashMap<Arc<str>, Option<Option<CertificateId>>>,
    ) -> Self {
        let object = ObjectRef::new("Default", "", "backend");
        let field = "--default-backend-service";
        let global_backend =
            default_backend.map(|key| backends.id(key.clone(), &object, field, None));
        let target = global_backend.map_or(Target::NotFound, Target::Backend);
        let mut global = Route {
            ingress: object,
            field: field.to_owned(),
            kind: PathKind::Prefix,
            path: "/".into(),
            use_regex: false,
            rewrite: None,
            https_redirect: HttpsRedirect::Never,
            preserve_trailing_slash: false,
            redirect_form: RedirectForm::default(),
            sets_session: false,
            proxying: Arc::clone(&config.proxying),
            policies: config.blocked_policies(),
            target,
        };
        if default_backend.is_some() {
            let external = config.global_auth.as_ref().map(|auth| {
                let external = auth.on(&HostName::CatchAll, &mut backends, &global.ingress);
                external.map_err(|_why| Arc::clone(&auth.key))
            });
            match (config.global_auth_denial.clone(), external) {
                (Some(key), _) | (None, Some(Err(key))) => deny(&mut global, &Denial { key }),
                (None, external) => {
                    let external = external.and_then(Result::ok).map(Arc::new);
                    global.policies = with_authentication(global.policies.as_deref(), external);
                }
            }
        }
        if let Some(denial) = &config.denial {
            deny(&mut global, denial);
        }
        let (canaries, aliases, balances) = Default::default();
        let first_ports = FirstPorts::default();
        let mut assembly = Self {
            options,
            config,
            stores,
            certificates,
            authorities,
            users,
            backends,
            global_backend,
            first_ports,
            hosts: BTreeMap::new(),
            global,
            canaries,
            aliases,
            balances,
            beside,
        };
        if let Some(errors) =
            assembly.pages(Arc::clone(&config.error_statuses), config.own_errors_only, None)
        {
            let own = assembly.global.policies.as_deref().cloned().unwrap_or_default();
            let policies = Policies { errors: Some(errors), ..own };
            assembly.global.policies = Some(Arc::new(policies));
        }
        let any = HostParts::new(HostName::CatchAll, assembly.global.clone());
        assembly.hosts.insert(HostName::CatchAll, any);
        assembly
    }

    /// The hosts whose TLS connections are passed through. Why one is not becomes a diagnostic.
    pub(super) fn passthrough(
        &self,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> HashMap<Arc<str>, Passthrough> {
        let field =
            format!("metadata.annotations[{}/ssl-passthrough]", self.options.annotations_prefix);
        let mut passed = HashMap::new();
        for (name, parts) in &self.hosts {
            let Some((ingress, send_proxy)) = &parts.passthrough else { continue };
            let why = match (self.options.ssl_passthrough, name, parts.root()) {
                (false, ..) => "needs --enable-ssl-passthrough",
                (true, HostName::Exact(name), Some(backend)) => {
                    let passthrough = Passthrough { backend, send_proxy: *send_proxy };
                    passed.insert(Arc::clone(name), passthrough);
                    continue;
                }
                (true, HostName::Exact(_), None) => "needs a Service for the host's path `/`",
                (true, ..) => "needs a host without wildcard",
            };
            Report::on(ingress.clone(), diagnostics)
                .error(&*field, format!("{why}; TLS of this host is ended here"));
        }
        passed
    }

    /// Settles what hosts are called too, of all Ingresses added.
    pub(super) fn settle_names(
        &mut self,
        expressions: &mut Expressions,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let aliases = std::mem::take(&mut self.aliases);
        // Its redirects need no more than that nobody is let in whom the ConfigMap keeps out.
        let policies = self.config.blocked_policies();
        let template = Route { policies, ..self.global.clone() };
        let mut settling = Settling {
            alias_field: self.field("server-alias"),
            www_field: self.field("from-to-www-redirect"),
            certificates: self.certificates,
            expressions,
            template: &template,
        };
        aliases.settle(&mut self.hosts, &mut settling, diagnostics);
    }

    /// Gives their canaries to the backends of all Ingresses added.
    pub(super) fn attach_canaries(
        &mut self,
        expressions: &mut Expressions,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let canaries = std::mem::take(&mut self.canaries);
        let field = self.field("canary-by-header-pattern");
        canaries.attach(&self.hosts, &field, &mut self.backends, expressions, diagnostics);
    }

    /// The hosts of all Ingresses added.
    pub(super) fn finish(
        mut self,
        policies: &mut upstream_tls::Policies,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> (Vec<Host>, Backends) {
        let field = self.field("server-snippet");
        let configmap = self.options.configmap.as_ref().map(|(namespace, name)| {
            ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str())
        });
        for parts in self.hosts.values_mut() {
            let snippets = &self.config.snippets;
            parts.decide_snippet(snippets, &field, configmap.as_ref(), diagnostics);
        }
        let mut wildcards = self.beside;
        wildcards.extend(self.hosts.iter().filter_map(|(name, parts)| match name {
            HostName::Wildcard(suffix) => Some((Arc::clone(suffix), parts.tls)),
            _ => None,
        }));
        let above = |name: &HostName| match name {
            HostName::Exact(name) => {
                let (_, suffix) = name.split_once('.')?;
                wildcards.get(suffix).copied().flatten()
            }
            _ => None,
        };
        let backends = self.backends;
        let finish = |(name, mut parts): (HostName, HostParts)| {
            parts.decide_upstream_tls(&backends, policies);
            parts.finish(above(&name))
        };
        (self.hosts.into_iter().map(finish).collect(), backends)
    }

    /// Adds an Ingress that is ours. The next one must be younger.
    pub(super) fn add(&mut self, key: &Key, ingress: &Ingress, diagnostics: &mut Vec<Diagnostic>) {
        let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
        let mut report = Report::on(object.clone(), diagnostics);
        let report = &mut report;
        let lookup = Lookup { namespace: &key.namespace, stores: self.stores };
        let (prefix, all) =
            (&self.options.annotations_prefix, ingress.metadata.annotations.as_ref());
        if let Some(asked) = read_canary(prefix, all, self.config, lookup, self.users, report) {
            return self.canaries.add(key, ingress, asked, report);
        }
        let mut annotations =
            Annotations::parse(prefix, all, self.config, lookup, self.users, report);
        self.add_error_pages(key, &mut annotations, report);
        let nothing = IngressSpec::default();
        let spec = ingress.spec.as_ref().unwrap_or(&nothing);
        if spec.default_backend.is_some() && self.options.disable_catch_all {
            let message = "an Ingress with a default backend is not served: --disable-catch-all";
            return report.error("spec.defaultBackend", message);
        }
        if spec.tls.as_ref().is_some_and(|entries| entries.len() > MOST_TLS) {
            let message = format!("has more than {MOST_TLS} entries; the first {MOST_TLS} count");
            report.error("spec.tls", message);
        }
        let upstream_tls = annotations.upstream_tls.as_ref().map(|request| {
            let field = &annotations.upstream_tls_field;
            let namespace = (!self.config.cross_namespace).then_some(&*key.namespace);
            upstream_tls::resolve(request, namespace, &self.stores.secrets, field, report)
        });
        let of_paths = annotations.upstream_tls_of_paths.as_ref();
        let of_paths = of_paths.filter(|_| matches!(upstream_tls, Some(Ok(_)))).map(|request| {
            let field = &annotations.upstream_tls_field;
            let namespace = (!self.config.cross_namespace).then_some(&*key.namespace);
            upstream_tls::resolve(request, namespace, &self.stores.secrets, field, report)
        });
        let alone = of_paths.is_some() || self.config.upstream_tls_per_ingress;
        match of_paths.as_ref().or(upstream_tls.as_ref()) {
            Some(Err(denial)) => {
                annotations.denial.get_or_insert_with(|| denial.clone());
            }
            Some(Ok(policy)) if alone && annotations.proxying.protocol.may_use_tls() => {
                let proxying = Proxying::clone(&annotations.proxying);
                let tls = Some(Arc::new(policy.clone()));
                annotations.proxying = Arc::new(Proxying { tls, ..proxying });
            }
            _ => {}
        }
        let handshake = self.handshake(key, &annotations, report);
        if let Some(ClientAuth::Rule(rule)) = &handshake.client_auth {
            let redirects = &annotations.redirects;
            let tls = spec.tls.as_ref().is_some_and(|entries| !entries.is_empty());
            let open = !(redirects.force_ssl || redirects.ssl && tls);
            if open && rule.verify == VerifyClient::Required && rule.subject.is_none() {
                let message = "plain HTTP gets to these paths without a certificate, as in \
                               ingress-nginx: `force-ssl-redirect: \"true\"` closes that way";
                report.warning(self.field("auth-tls-secret"), message);
            }
        }
        let balances = match self.balances.take_if(|known| **known == annotations.balances) {
            Some(known) => known,
            None => Arc::new(annotations.balances.clone()),
        };
        self.balances = Some(Arc::clone(&balances));
        let current =
            Current { key, object, ingress, spec, annotations, upstream_tls, handshake, balances };
        match spec.rules.as_deref().unwrap_or_default() {
            [] if spec.default_backend.is_some() => self.add_catch_all(&current, report),
            [] => report.error("spec", "has neither rules nor a default backend; serves nothing"),
            rules => {
                for (index, rule) in rules.iter().enumerate() {
                    self.add_rule(&current, index, rule, report);
                }
            }
        }
    }

    /// An Ingress without rules takes `/` of the catch-all host. Its redirects and rewrites do not
    /// apply there (reference section 3.1).
    fn add_catch_all(&mut self, current: &Current<'_>, report: &mut Report<'_>) {
        let auth = self.authentication(current, &HostName::CatchAll, report);
        let mut route = self.default_route(current, &auth, report);
        route.rewrite = None;
        route.use_regex = false;
        route.https_redirect = HttpsRedirect::Never;
        if matches!(route.target, Target::Redirect(_)) {
            route.target = self.default_target(current, report);
        }
        self.add_route(HostName::CatchAll, route, report);
        self.decide_upstream_tls(&HostName::CatchAll, current);
        self.ask_of_handshakes(&HostName::CatchAll, current);
        self.deny_host(&HostName::CatchAll, current);
        self.decide_snippet(&HostName::CatchAll, current, report);
    }

    fn add_rule(
        &mut self,
        current: &Current<'_>,
        index: usize,
        rule: &IngressRule,
        report: &mut Report<'_>,
    ) {
        let field = format!("spec.rules[{index}]");
        let name = match host_name(rule.host.as_deref().unwrap_or_default()) {
            Ok(name) => name,
            Err(why) => {
                return report
                    .error(format!("{field}.host"), format!("{why}; the rule is ignored"));
            }
        };
        let auth = self.authentication(current, &name, report);
        if !self.hosts.contains_key(&name) {
            let mut default = self.default_route(current, &auth, report);
            if current.spec.default_backend.is_none() {
                default.field = field.clone();
            }
            self.hosts.insert(name.clone(), HostParts::new(name.clone(), default));
        }
        self.decide_tls(&name, current, report);
        self.decide_upstream_tls(&name, current);
        self.ask_of_handshakes(&name, current);
        for (index, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
            let field = format!("{field}.http.paths[{index}]");
            if let Some(route) = self.route(current, &auth, field, path, report) {
                self.add_route(name.clone(), route, report);
            }
        }
        if let Some(path) = &current.annotations.redirects.app_root {
            self.set_app_root(&name, current, path);
        }
        self.deny_host(&name, current);
        let field = self.field("server-alias");
        if let Some(host) = self.hosts.get_mut(&name) {
            self.aliases.add(&name, host, &current.annotations.aliases, &field, report);
            if current.annotations.redirects.from_to_www {
                host.www.get_or_insert_with(|| current.object.clone());
            }
        }
        self.decide_snippet(&name, current, report);
        if let Some(send_proxy) = current.annotations.passthrough
            && let Some(host) = self.hosts.get_mut(&name)
        {
            host.passthrough.get_or_insert_with(|| (current.object.clone(), send_proxy));
        }
    }

    /// Who is asked about the requests of this host for paths of this Ingress.
    fn authentication(
        &mut self,
        current: &Current<'_>,
        name: &HostName,
        report: &mut Report<'_>,
    ) -> Authentication {
        let Some(request) = &current.annotations.external_auth else { return Ok(None) };
        let external = request.on(name, &mut self.backends, &current.object);
        external.map(|auth| Some(Arc::new(auth))).map_err(|why| {
            report.error(
                &*request.field,
                format!("{why}; the paths of this Ingress on that host answer 503"),
            );
            Denial { key: Arc::clone(&request.key) }
        })
    }

    /// Where a person finds an annotation.
    pub(super) fn field(&self, key: &str) -> String {
        format!("metadata.annotations[{}/{key}]", self.options.annotations_prefix)
    }

    fn add_route(&mut self, name: HostName, route: Route, report: &mut Report<'_>) {
        let Some(host) = self.hosts.get_mut(&name) else { return };
        let (kind, path, field) = (route.kind, Arc::clone(&route.path), route.field.clone());
        if let Err(older) = host.add(route) {
            let message = format!(
                "{kind:?} `{path}` of this host is already served by {}, {}; the older one stays",
                older.ingress, older.field
            );
            report.error(field, message);
        }
    }

    /// The route of a path, with what the annotations of its Ingress ask for.
    fn route(
        &mut self,
        current: &Current<'_>,
        auth: &Authentication,
        field: String,
        path: &HTTPIngressPath,
        report: &mut Report<'_>,
    ) -> Option<Route> {
        let (kind, text) = path_of(path, &field, report)?;
        let mut route = base(current, &field, text);
        route.kind = kind;
        let redirects = &current.annotations.redirects;
        let exempt = self.config.no_tls_redirect.iter().any(|item| text.starts_with(&**item));
        route.https_redirect = https_redirect(current, exempt);
        route.target = match &redirects.elsewhere {
            Some(redirect) => Target::Redirect(redirect.clone()),
            None => self.target(current, &format!("{field}.backend"), &path.backend, report),
        };
        if let Some(denial) = &current.annotations.denial {
            deny(&mut route, denial);
        }
        if self.config.no_auth_locations.iter().any(|item| text.starts_with(&**item)) {
            route.policies = without_authentication(route.policies);
        } else {
            authenticate(&mut route, auth);
        }
        Some(route)
    }

    /// What `/` of a host leads to that this Ingress is the first to name, unless some Ingress
    /// defines it: its default backend, else the global one, with its annotations.
    fn default_route(
        &mut self,
        current: &Current<'_>,
        auth: &Authentication,
        report: &mut Report<'_>,
    ) -> Route {
        let mut route = base(current, "spec.defaultBackend", "/");
        route.https_redirect = https_redirect(current, false);
        route.target = match &current.annotations.redirects.elsewhere {
            Some(redirect) => Target::Redirect(redirect.clone()),
            None => self.default_target(current, report),
        };
        if let Some(denial) = &current.annotations.denial {
            deny(&mut route, denial);
        }
        authenticate(&mut route, auth);
        route
    }

    fn default_target(&mut self, current: &Current<'_>, report: &mut Report<'_>) -> Target {
        match &current.spec.default_backend {
            Some(backend) => self.target(current, "spec.defaultBackend", backend, report),
            None => self.global.target.clone(),
        }
    }

    /// Where a backend leads. One that cannot be understood keeps its path, with 503: a broader path
    /// must not get the requests that were meant for it.
    fn target(
        &mut self,
        current: &Current<'_>,
        field: &str,
        backend: &IngressBackend,
        report: &mut Report<'_>,
    ) -> Target {
        let key = match backend_key(&current.key.namespace, field, backend) {
            Ok(key) => key,
            Err(Fault::Resource) => {
                let message = "resources are not served, as in ingress-nginx; the answer is 404";
                report.warning(format!("{field}.resource"), message);
                return Target::NotFound;
            }
            Err(Fault::Broken(field, why)) => {
                report.error(&field, format!("{why}; the answer is 503"));
                return Target::Denied(Denial { key: field.into() });
            }
        };
        let field = format!("{field}.service");
        let created = current.ingress.metadata.creation_timestamp.clone();
        let asks = Some((created, Arc::clone(&current.balances)));
        Target::Backend(self.backends.id(key, &current.object, &field, asks))
    }
}

/// A route of this Ingress to nowhere.
pub(super) fn base(current: &Current<'_>, field: &str, path: &str) -> Route {
    let rewriting = &current.annotations.rewriting;
    // A target that is the path itself is no rewrite, and no reason for regex mode.
    let target = rewriting.target.as_ref().filter(|target| ***target != *path);
    Route {
        ingress: current.object.clone(),
        field: field.to_owned(),
        kind: PathKind::Prefix,
        path: path.into(),
        use_regex: rewriting.use_regex,
        rewrite: target.map(|target| Rewrite { template: Arc::clone(target) }),
        https_redirect: HttpsRedirect::Never,
        preserve_trailing_slash: current.annotations.redirects.preserve_trailing_slash,
        redirect_form: current.annotations.redirects.form,
        sets_session: current.annotations.balances.cookie.is_some(),
        proxying: Arc::clone(&current.annotations.proxying),
        policies: current.annotations.policies.clone(),
        target: Target::NotFound,
    }
}

/// Who is asked about requests, or why nobody can be.
type Authentication = Result<Option<Arc<ExternalAuth>>, Denial>;

fn authenticate(route: &mut Route, auth: &Authentication) {
    match auth {
        Ok(None) => {}
        Ok(external) => {
            route.policies = with_authentication(route.policies.as_deref(), external.clone());
        }
        // What denied it before stays the reason.
        Err(_) if matches!(route.target, Target::Denied(_)) => {}
        Err(denial) => deny(route, denial),
    }
}

fn with_authentication(
    policies: Option<&Policies>,
    external: Option<Arc<ExternalAuth>>,
) -> Option<Arc<Policies>> {
    let policies = Policies { external, ..policies.cloned().unwrap_or_default() };
    (policies != Policies::default()).then(|| Arc::new(policies))
}

/// What is left of the policies on a path that `no-auth-locations` exempts.
fn without_authentication(policies: Option<Arc<Policies>>) -> Option<Arc<Policies>> {
    let rest = policies?.without_authentication();
    (rest != Policies::default()).then(|| Arc::new(rest))
}

fn https_redirect(current: &Current<'_>, exempt: bool) -> HttpsRedirect {
    let redirects = &current.annotations.redirects;
    match (exempt, redirects.force_ssl, redirects.ssl) {
        (true, ..) | (_, false, false) => HttpsRedirect::Never,
        (_, true, _) => HttpsRedirect::Always,
        (_, _, true) => HttpsRedirect::IfTls,
    }
}
