//! The flags of `penstock run`, as text.

use clap::{ArgAction, Args};

use super::{MetricsFlags, WriteFlags};

/// The flags of `penstock run`. Names and defaults are ingress-nginx's where it has the flag
/// (reference section 9.2). Values that need a check stay text here, so that all faults can be told
/// at once.
#[derive(Args, Clone, Debug)]
pub struct RunFlags {
    /// Directory (or file) of Kubernetes YAML to serve and to watch for changes; default: the objects
    /// of the cluster, by its API server.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<String>,
    /// File that says where the API server is and as whom it is asked; default: the pod's own
    /// account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// Context of the kubeconfig; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Address of the API server, for example https://10.0.0.1:6443; default: what the kubeconfig
    /// or the pod's environment says.
    #[arg(long, value_name = "URL")]
    pub apiserver_host: Option<String>,
    /// File with the authorities of the API server's certificate, with --apiserver-host.
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<String>,

    /// Port for HTTP; 0 lets the kernel pick one.
    #[arg(long, value_name = "PORT", default_value = "80")]
    pub http_port: String,
    /// Port for HTTPS; 0 lets the kernel pick one.
    #[arg(long, value_name = "PORT", default_value = "443")]
    pub https_port: String,
    /// Addresses to listen on, repeatable or comma-separated; default: all.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub bind_address: Vec<String>,
    /// Port for /healthz, /readyz, /metrics, /state and /api/v1/; 0 lets the kernel pick one.
    #[arg(long, value_name = "PORT", default_value = "10254")]
    pub healthz_port: String,
    /// Address of the health port; default: all.
    #[arg(long, value_name = "ADDRESS")]
    pub healthz_host: Option<String>,
    /// Path of the health check on the health port.
    #[arg(long, value_name = "PATH", default_value = "/healthz")]
    pub health_check_path: String,

    /// Unix socket of the health port's pages and of what changes the agent, for this user alone;
    /// empty: none.
    #[arg(long, value_name = "PATH", default_value = "/run/penstock/admin.sock")]
    pub admin_socket: String,

    /// Address and port of the page for browsers; empty: there is none.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10244")]
    pub page_address: String,

    /// Value of the annotation kubernetes.io/ingress.class to serve.
    #[arg(long, value_name = "NAME", default_value = "penstock")]
    pub ingress_class: String,
    /// spec.controller of the IngressClasses to serve; k8s.io/ingress-nginx takes over an
    /// installation of ingress-nginx.
    #[arg(long, value_name = "NAME", default_value = "penstock.dev/ingress-controller")]
    pub controller_class: String,
    /// Also serve the IngressClass that is named like --ingress-class.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub ingress_class_by_name: String,
    /// Also serve Ingresses that name no class.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub watch_ingress_without_class: String,
    /// Serve only the Ingresses of this namespace, and ask for objects of no other; default: all.
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Serve only the Ingresses of namespaces with such labels: `a=b,c!=d,e in (f,g),h,!i`; default:
    /// all.
    #[arg(long, value_name = "SELECTOR")]
    pub watch_namespace_selector: Option<String>,
    /// Service (namespace/name) for requests that no rule matches; default: 404.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub default_backend_service: Option<String>,
    /// TLS Secret (namespace/name) where no host's certificate applies; default: a self-signed one.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub default_ssl_certificate: Option<String>,
    /// Secret (namespace/name) with the keys of TLS session tickets, 48 or 80 bytes each: the first
    /// entry by name seals, all open. Replicas that share it resume each other's sessions; default:
    /// keys of each process's own.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tls_ticket_secret: Option<String>,
    /// ConfigMap (namespace/name) with the global settings.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub configmap: Option<String>,
    /// ConfigMap (namespace/name) of TCP ports: `port: namespace/service:port[:PROXY][:PROXY]`.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub tcp_services_configmap: Option<String>,
    /// ConfigMap (namespace/name) of UDP ports: `port: namespace/service:port`.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub udp_services_configmap: Option<String>,
    /// Obey the annotation ssl-passthrough: TLS connections go to the Service unopened.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub enable_ssl_passthrough: String,
    /// Ignore Ingresses with spec.defaultBackend.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub disable_catch_all: String,
    /// Do not serve Services of type ExternalName.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub disable_svc_external_name: String,
    /// Prefix of the annotations to obey.
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    pub annotations_prefix: String,

    /// Directory of the OWASP Core Rule Set, version 4: crs-setup.conf and rules/*.conf; needed by
    /// enable-owasp-core-rules.
    #[arg(long, value_name = "DIR", default_value = "/etc/nginx/owasp-modsecurity-crs")]
    pub modsecurity_rules: String,

    /// Seconds from the signal until no more connections are accepted.
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    pub shutdown_grace_period: String,
    /// Seconds that requests in flight may take after that.
    #[arg(long, value_name = "SECONDS", default_value = "240")]
    pub drain_timeout: String,

    /// Steer packets in the kernel where --interface is given: auto or xdp (generic where the driver has
    /// none), tc (experimental), or off (needs no rights).
    #[arg(long, value_name = "off|auto|xdp|tc", default_value = "auto")]
    pub l4: String,
    /// Virtual addresses, repeatable or comma-separated.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub vip: Vec<String>,
    /// Interfaces to attach the program to, repeatable or comma-separated.
    #[arg(long, value_name = "IF", value_delimiter = ',')]
    pub interface: Vec<String>,
    /// Nodes to steer to, instead of Node objects: a YAML list of name, address, weight (0 to 1000,
    /// default 100) and draining. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub members: Option<String>,
    /// Service whose endpoints are the agents (their pods in the host's network), instead of all Nodes.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub members_service: Option<String>,
    /// Candidates of a row: fewer than 4 only to show what they are good for.
    #[arg(long, value_name = "N", default_value = "4", hide = true)]
    pub l4_candidates: String,
    /// What goes to one node: each connection by itself, or all of a client's address, so that limits
    /// hold over all nodes.
    #[arg(long, value_name = "connection|client", default_value = "connection")]
    pub l4_affinity: String,
    /// Make the settings of the network stack that steering needs: rp_filter, arp_ignore and
    /// arp_announce of each --interface.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub l4_sysctl: String,
    /// Announce virtual addresses on the link: l2 has one node answer ARP and neighbour solicitations for
    /// each, whichever is alive.
    #[arg(long, value_name = "none|l2", default_value = "none")]
    pub announce: String,
    /// Take virtual addresses and settings back when the agent has stopped, as for a node that leaves
    /// for good. Packets for them that still come in are then refused here.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true")]
    pub l4_remove_vips_on_exit: String,
    /// This node's name, as the Node object or --members has it.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Directory on a BPF file system for maps and links.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/penstock")]
    pub bpf_dir: String,
    /// UDP port of the tunnel between nodes.
    #[arg(long, value_name = "PORT", default_value = "6082")]
    pub tunnel_port: String,
    /// Secret (namespace/name) with the cluster's flow hash key, 16 bytes in its field `key`.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub l4_key_secret: Option<String>,

    /// What is written into the cluster, and the admission webhook.
    #[command(flatten)]
    pub writes: WriteFlags,

    /// What is counted of requests.
    #[command(flatten)]
    pub metrics: MetricsFlags,

    /// Threads that serve requests; default: the number of cores.
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// Format of log lines.
    #[arg(long, value_name = "text|json", default_value = "text")]
    pub log_format: String,

    /// Flags of ingress-nginx that have no meaning here, as given.
    #[arg(skip)]
    pub ignored: Vec<String>,
}

/// Adds the flags of ingress-nginx that are accepted without effect, hidden from the help.
pub(super) fn with_ignored(mut command: clap::Command) -> clap::Command {
    for (name, flag) in super::ignored::FLAGS {
        let arg = clap::Arg::new(*name).long(*name).hide(true).action(ArgAction::Append);
        command = command.arg(match flag {
            super::ignored::Shape::Bool => arg.num_args(0..=1).require_equals(true),
            super::ignored::Shape::Value => arg.num_args(1),
        });
    }
    command
}
