//! From flags as text to a [`Config`] that cannot be wrong.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    Admin, Config, L4, L4Mode, Listen, LogFormat, NameServers, RunFlags, Shutdown, Source,
    Timeouts, ignored,
};
use crate::{
    kubernetes::{Access, server_address},
    translate::{self, NamespaceSelector},
};

/// Collects what is wrong while values are read.
#[derive(Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A fault that is not about one value.
    pub(super) fn say(&mut self, fault: &str) {
        self.0.push(fault.to_owned());
    }

    pub(super) fn add(&mut self, flag: &str, value: &str, allowed: &str) {
        self.0.push(format!("{flag} {value:?}: must be {allowed}"));
    }

    fn port(&mut self, flag: &str, value: &str) -> u16 {
        value.parse().unwrap_or_else(|_| {
            self.add(flag, value, "a port, 0 to 65535");
            0
        })
    }

    pub(super) fn seconds(&mut self, flag: &str, value: &str) -> Duration {
        // Go's duration flags take `10s`, its number flags `10`.
        let digits = value.strip_suffix('s').unwrap_or(value);
        Duration::from_secs(u64::from(digits.parse::<u32>().unwrap_or_else(|_| {
            self.add(flag, value, "a number of seconds");
            0
        })))
    }

    /// Go's `time.ParseDuration`, as far as whole seconds and milliseconds go; a bare number counts
    /// seconds.
    pub(super) fn duration(&mut self, flag: &str, value: &str) -> Duration {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("", 1000)];
        let (digits, unit) = units
            .iter()
            .find_map(|(suffix, unit)| Some((value.strip_suffix(suffix)?, *unit)))
            .unwrap_or((value, 1000));
        match digits.parse::<u32>() {
            Ok(number) => Duration::from_millis(u64::from(number) * unit),
            Err(_) => {
                self.add(flag, value, "a duration, as 10s, 1m or 500ms");
                Duration::ZERO
            }
        }
    }

    /// Go's `strconv.ParseBool`.
    pub(super) fn boolean(&mut self, flag: &str, value: &str) -> bool {
        match value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
            "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
            _ => {
                self.add(flag, value, "true or false");
                false
            }
        }
    }

    fn addresses(&mut self, flag: &str, values: &[String]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for value in values {
            match value.trim().parse() {
                Ok(address) if !addresses.contains(&address) => addresses.push(address),
                Ok(_) => {}
                Err(_) => self.add(flag, value, "an IPv4 or IPv6 address without port"),
            }
        }
        addresses
    }

    pub(super) fn object(
        &mut self,
        flag: &str,
        value: Option<&String>,
    ) -> Option<(String, String)> {
        let value = value.filter(|value| !value.is_empty())?;
        match value.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Some((namespace.to_owned(), name.to_owned()))
            }
            _ => {
                self.add(flag, value, "NAMESPACE/NAME");
                None
            }
        }
    }
}

impl RunFlags {
    /// The checked configuration, or one line for each fault.
    ///
    /// # Errors
    /// All faults, each naming its flag and what is allowed.
    pub fn validate(&self, cores: usize) -> Result<Config, Vec<String>> {
        let mut faults = Faults::default();
        let l4 = self.l4(&mut faults);
        let config = Config {
            source: self.source(&mut faults),
            translate: self.translate(&mut faults),
            modsecurity_rules: self.modsecurity_rules.clone().into(),
            listen: Listen {
                addresses: faults.addresses("--bind-address", &self.bind_address),
                http_port: faults.port("--http-port", &self.http_port),
                https_port: faults.port("--https-port", &self.https_port),
            },
            admin: self.admin(&mut faults),
            workers: self.workers(&mut faults, cores),
            shutdown: Shutdown {
                grace: faults.seconds("--shutdown-grace-period", &self.shutdown_grace_period),
                drain: faults.seconds("--drain-timeout", &self.drain_timeout),
            },
            writes: self.writes.writes(&mut faults, &l4.vips),
            webhook: self.writes.webhook(&mut faults),
            l4,
            metrics: self.metrics.metrics(&mut faults),
            timeouts: Timeouts::default(),
            names: NameServers::default(),
            standard_output: true,
            levels: None,
            log_format: match self.log_format.as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                other => {
                    faults.add("--log-format", other, "text or json");
                    LogFormat::Text
                }
            },
            warnings: self.warnings(),
        };
        let Listen { http_port, https_port, .. } = config.listen;
        let ports = [
            ("--http-port", http_port),
            ("--https-port", https_port),
            ("--healthz-port", config.admin.port),
        ];
        for (index, (flag, port)) in ports.iter().enumerate() {
            if let Some((other, _)) =
                ports[..index].iter().find(|(_, taken)| *port != 0 && taken == port)
            {
                faults.0.push(format!("{flag} {port}: is the port of {other} already"));
            }
        }
        if faults.0.is_empty() { Ok(config) } else { Err(faults.0) }
    }

    fn warnings(&self) -> Vec<String> {
        let ignored = self.ignored.iter().map(|name| ignored::warning(name));
        let directory = self.manifests.as_ref().is_some_and(|dir| !dir.is_empty());
        ignored.chain(self.writes.without_cluster().filter(|_| directory)).collect()
    }

    fn source(&self, faults: &mut Faults) -> Source {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let access = Access {
            kubeconfig: given(&self.kubeconfig).map(Into::into),
            context: given(&self.context),
            server: given(&self.apiserver_host),
            authority: given(&self.certificate_authority).map(Into::into),
            in_pod: true,
        };
        if let Some(server) = &access.server
            && let Err(why) = server_address(server)
        {
            faults.add("--apiserver-host", server, why);
        }
        if access.authority.is_some() && access.server.is_none() {
            faults.0.push("--certificate-authority: has no effect without --apiserver-host".into());
        }
        let Some(manifests) = given(&self.manifests) else { return Source::Cluster(access) };
        for (flag, is_given) in [
            ("--kubeconfig", access.kubeconfig.is_some()),
            ("--context", access.context.is_some()),
            ("--apiserver-host", access.server.is_some()),
        ] {
            if is_given {
                faults.0.push(format!(
                    "{flag}: is of a cluster, and --manifests is not; give one of the two"
                ));
            }
        }
        Source::Manifests(manifests.into())
    }

    fn namespace_selector(&self, faults: &mut Faults) -> Option<NamespaceSelector> {
        const FLAG: &str = "--watch-namespace-selector";
        let text = self.watch_namespace_selector.as_ref().filter(|text| !text.trim().is_empty())?;
        // ingress-nginx refuses both together too.
        if self.watch_namespace.as_ref().is_some_and(|name| !name.is_empty()) {
            faults.0.push(format!("{FLAG}: cannot be given together with --watch-namespace"));
        }
        match text.parse() {
            Ok(selector) => Some(selector),
            Err(error) => {
                faults.0.push(format!("{FLAG} {text:?}: {error}"));
                None
            }
        }
    }

    fn translate(&self, faults: &mut Faults) -> translate::Options {
        translate::Options {
            ingress_class: self.ingress_class.clone(),
            controller_class: self.controller_class.clone(),
            ingress_class_by_name: faults
                .boolean("--ingress-class-by-name", &self.ingress_class_by_name),
            watch_ingress_without_class: faults
                .boolean("--watch-ingress-without-class", &self.watch_ingress_without_class),
            watch_namespace: self.watch_namespace.clone().filter(|name| !name.is_empty()),
            watch_namespace_selector: self.namespace_selector(faults),
            default_backend_service: faults
                .object("--default-backend-service", self.default_backend_service.as_ref()),
            default_ssl_certificate: faults
                .object("--default-ssl-certificate", self.default_ssl_certificate.as_ref()),
            tls_ticket_secret: faults
                .object("--tls-ticket-secret", self.tls_ticket_secret.as_ref()),
            configmap: faults.object("--configmap", self.configmap.as_ref()),
            tcp_services: faults
                .object("--tcp-services-configmap", self.tcp_services_configmap.as_ref()),
            udp_services: faults
                .object("--udp-services-configmap", self.udp_services_configmap.as_ref()),
            members_service: faults.object("--members-service", self.members_service.as_ref()),
            ssl_passthrough: faults
                .boolean("--enable-ssl-passthrough", &self.enable_ssl_passthrough),
            disable_catch_all: faults.boolean("--disable-catch-all", &self.disable_catch_all),
            // Told among the listener's.
            https_port: self.https_port.parse().unwrap_or(443),
            disable_svc_external_name: faults
                .boolean("--disable-svc-external-name", &self.disable_svc_external_name),
            annotations_prefix: self.annotations_prefix.trim_end_matches('/').to_owned(),
            firewall: crate::firewall::Library::default(),
        }
    }

    fn admin(&self, faults: &mut Faults) -> Admin {
        if !self.health_check_path.starts_with('/') {
            faults.add("--health-check-path", &self.health_check_path, "a path beginning with /");
        }
        let host: Vec<_> =
            self.healthz_host.iter().filter(|host| !host.is_empty()).cloned().collect();
        Admin {
            address: faults.addresses("--healthz-host", &host).first().copied(),
            port: faults.port("--healthz-port", &self.healthz_port),
            health_path: self.health_check_path.clone(),
            socket: Some(&self.admin_socket).filter(|path| !path.is_empty()).map(Into::into),
            page: self.page(faults),
        }
    }

    fn page(&self, faults: &mut Faults) -> Option<SocketAddr> {
        if self.page_address.is_empty() {
            return None;
        }
        let address = self.page_address.parse().ok();
        if address.is_none() {
            let allowed = "an address and a port, as 127.0.0.1:10244 or [::1]:10244, or nothing";
            faults.add("--page-address", &self.page_address, allowed);
        }
        address
    }

    fn workers(&self, faults: &mut Faults, cores: usize) -> usize {
        let Some(value) = &self.workers else { return cores.max(1) };
        match value.parse() {
            Ok(number @ 1..=1024) => number,
            _ => {
                faults.add("--workers", value, "a number, 1 to 1024");
                1
            }
        }
    }

    fn l4(&self, faults: &mut Faults) -> L4 {
        let mode = match self.l4.as_str() {
            "off" => L4Mode::Off,
            "auto" => L4Mode::Auto,
            "xdp" => L4Mode::Xdp,
            "tc" => L4Mode::Tc,
            other => {
                faults.add("--l4", other, "off, auto, xdp or tc");
                L4Mode::Off
            }
        };
        let l4 = L4 {
            mode,
            interfaces: self.interface.iter().filter(|name| !name.is_empty()).cloned().collect(),
            vips: faults.addresses("--vip", &self.vip),
            node_name: self.node_name.clone().unwrap_or_default(),
            bpf_dir: self.bpf_dir.clone().into(),
            tunnel_port: faults.port("--tunnel-port", &self.tunnel_port),
            key_secret: faults.object("--l4-key-secret", self.l4_key_secret.as_ref()),
            members: self.members.clone().filter(|path| !path.is_empty()).map(Into::into),
            candidates: match self.l4_candidates.parse() {
                Ok(count @ 1..=4) => count,
                _ => {
                    faults.add("--l4-candidates", &self.l4_candidates, "1 to 4");
                    4
                }
            },
            by_client: match self.l4_affinity.as_str() {
                "connection" => false,
                "client" => true,
                other => {
                    faults.add("--l4-affinity", other, "connection or client");
                    false
                }
            },
            settings: faults.boolean("--l4-sysctl", &self.l4_sysctl),
            announce: match self.announce.as_str() {
                "none" => false,
                "l2" => true,
                other => {
                    faults.add("--announce", other, "none or l2");
                    false
                }
            },
            leaves: faults.boolean("--l4-remove-vips-on-exit", &self.l4_remove_vips_on_exit),
        };
        if l4.members.is_some() && self.members_service.as_ref().is_some_and(|one| !one.is_empty())
        {
            faults.say("--members and --members-service exclude each other");
        }
        if l4.announce && (mode == L4Mode::Off || l4.interfaces.is_empty()) {
            faults.say(
                "--announce=l2 needs --interface, and not --l4=off: where nothing is steered, one node \
                 would get all connections",
            );
        }
        if mode != L4Mode::Off && !(l4.vips.is_empty() && l4.interfaces.is_empty()) {
            if l4.node_name.is_empty() {
                faults.0.push(
                    "--node-name NAME (or the variable NODE_NAME) is required with --vip and \
                     --interface: it says which of the nodes is this machine"
                        .to_owned(),
                );
            }
            if l4.interfaces.is_empty() {
                faults.0.push(
                    "--interface IF is required with --vip: it says where the packets come in"
                        .to_owned(),
                );
            }
        }
        l4
    }
}
