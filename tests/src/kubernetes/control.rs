//! The programs of a control plane, with their flags.

use std::{path::Path, process::Command};

use super::{Programs, credentials::Credentials};

/// Where ClusterIPs come from.
pub(crate) const SERVICES: &str = "10.96.0.0/16";

/// etcd with its data in `directory`, reachable by nobody but the owner of its socket there. It does
/// not wait for the disk: what a test writes need not survive a power cut.
pub(crate) fn etcd(programs: &Programs, directory: &Path) -> Command {
    let mut command = programs.command("etcd");
    command.arg(flag("data-dir", directory.join("etcd")));
    command.arg(format!("--listen-client-urls={}", socket(directory)));
    command.arg(format!("--listen-peer-urls=unix://{}", directory.join("peer.sock").display()));
    // Nobody is told of it, but it has to be a TCP address.
    command.args(["--advertise-client-urls=http://127.0.0.1:1", "--unsafe-no-fsync"]);
    command.arg("--log-level=error");
    command
}

/// The API server on the address of its credentials, with etcd's socket in `directory`.
pub(crate) fn api_server(
    programs: &Programs,
    directory: &Path,
    credentials: &Credentials,
) -> Command {
    let mut command = programs.command("kube-apiserver");
    let server = credentials.server();
    command.arg(format!("--etcd-servers={}", socket(directory)));
    command.arg(format!("--bind-address={}", server.ip()));
    command.arg(format!("--secure-port={}", server.port()));
    command.arg(flag("cert-dir", directory.join("apiserver")));
    command.arg(flag("tls-cert-file", credentials.file("apiserver.crt")));
    command.arg(flag("tls-private-key-file", credentials.file("apiserver.key")));
    command.arg(flag("token-auth-file", credentials.file("tokens.csv")));
    command.arg(flag("service-account-key-file", credentials.file("sa.pub")));
    command.arg(flag("service-account-signing-key-file", credentials.file("sa.key")));
    command.args([
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        // Watches that are under way do not keep it from ending.
        "--shutdown-watch-termination-grace-period=0s",
    ]);
    command.arg(format!("--service-cluster-ip-range={SERVICES}"));
    command
}

/// The controllers: endpoints, Deployments, DaemonSets, nodes that are gone and all that.
pub(crate) fn controller_manager(programs: &Programs, credentials: &Credentials) -> Command {
    let mut command = controller(programs, "kube-controller-manager", credentials);
    command.arg(flag("service-account-private-key-file", credentials.file("sa.key")));
    command.arg(flag("root-ca-file", credentials.file("ca.crt")));
    command.args([
        "--use-service-account-credentials=true",
        // So that a node that is gone is known to be gone within seconds.
        "--node-monitor-period=1s",
        "--node-monitor-grace-period=12s",
    ]);
    command
}

/// Who decides which pod runs where.
pub(crate) fn scheduler(programs: &Programs, credentials: &Credentials) -> Command {
    controller(programs, "kube-scheduler", credentials)
}

fn controller(programs: &Programs, name: &str, credentials: &Credentials) -> Command {
    let mut command = programs.command(name);
    let kubeconfig = credentials.kubeconfig(name.trim_start_matches("kube-"));
    for flag_name in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        command.arg(flag(flag_name, &kubeconfig));
    }
    command.arg(flag("cert-dir", credentials.file(name)));
    command.args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
    command
}

fn socket(directory: &Path) -> String {
    format!("unix://{}", directory.join("etcd.sock").display())
}

fn flag(name: &str, path: impl AsRef<Path>) -> String {
    format!("--{name}={}", path.as_ref().display())
}
