use k8s_openapi::api::core::v1::Namespace;

use super::NamespaceSelector;
use crate::{firewall::Library, stores::Store};

/// The flags that decide what is served (reference section 9.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--ingress-class`: the value of the annotation `kubernetes.io/ingress.class`.
    pub ingress_class: String,
    /// `--controller-class`: the `spec.controller` of the IngressClasses that are served.
    pub controller_class: String,
    /// `--ingress-class-by-name`: also the IngressClass that is *named* like `ingress_class`.
    pub ingress_class_by_name: bool,
    /// `--watch-ingress-without-class`.
    pub watch_ingress_without_class: bool,
    /// `--watch-namespace`; `None`: all.
    pub watch_namespace: Option<String>,
    /// `--watch-namespace-selector`; `None`: all.
    pub watch_namespace_selector: Option<NamespaceSelector>,
    /// `--default-backend-service`: namespace and name.
    pub default_backend_service: Option<(String, String)>,
    /// `--default-ssl-certificate`: namespace and name of a Secret.
    pub default_ssl_certificate: Option<(String, String)>,
    /// `--tls-ticket-secret`: namespace and name of a Secret.
    pub tls_ticket_secret: Option<(String, String)>,
    /// `--configmap`: namespace and name.
    pub configmap: Option<(String, String)>,
    /// `--tcp-services-configmap`: namespace and name.
    pub tcp_services: Option<(String, String)>,
    /// `--udp-services-configmap`: namespace and name.
    pub udp_services: Option<(String, String)>,
    /// `--members-service`: namespace and name of the Service whose endpoints are the agents.
    pub members_service: Option<(String, String)>,
    /// `--enable-ssl-passthrough`.
    pub ssl_passthrough: bool,
    /// `--disable-catch-all`: ignore Ingresses with `spec.defaultBackend`.
    pub disable_catch_all: bool,
    /// `--disable-svc-external-name`: Services of type ExternalName answer 503.
    pub disable_svc_external_name: bool,
    /// `--https-port`, which redirects name under `use-port-in-redirects`.
    pub https_port: u16,
    /// `--annotations-prefix`, without the slash.
    pub annotations_prefix: String,
    /// Rules for the firewall: what `--modsecurity-rules` came to.
    pub firewall: Library,
}

impl Options {
    /// The Ingresses of this namespace are looked at.
    pub(crate) fn serves_namespace(&self, namespaces: &Store<Namespace>, name: &str) -> bool {
        self.watch_namespace.as_ref().is_none_or(|only| only == name)
            && self
                .watch_namespace_selector
                .as_ref()
                .is_none_or(|selector| selector.selects(namespaces, name))
    }
}

impl Default for Options {
    /// Penstock's own class; otherwise ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            ingress_class: "penstock".to_owned(),
            controller_class: "penstock.dev/ingress-controller".to_owned(),
            ingress_class_by_name: false,
            watch_ingress_without_class: false,
            watch_namespace: None,
            watch_namespace_selector: None,
            default_backend_service: None,
            default_ssl_certificate: None,
            tls_ticket_secret: None,
            configmap: None,
            tcp_services: None,
            udp_services: None,
            members_service: None,
            ssl_passthrough: false,
            disable_catch_all: false,
            disable_svc_external_name: false,
            https_port: 443,
            annotations_prefix: "nginx.ingress.kubernetes.io".to_owned(),
            firewall: Library::default(),
        }
    }
}
