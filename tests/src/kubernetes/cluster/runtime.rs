//! The configuration of a node's programs, in JSON, which is YAML too.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    cgroups::Hierarchies,
    layout::{Layout, Place},
};

/// containerd's.
pub(super) const CONTAINERD: &str = include_str!("../../../cluster/containerd.toml");

/// Pods' interfaces: a pair of devices for each (no bridge, whose netfilter settings belong to the whole
/// machine), addresses by the node's number.
pub(super) fn cni(number: u8) -> Value {
    json!({ "cniVersion": "0.4.0", "name": "penstock", "plugins": [
        { "type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": format!("10.244.{number}.0/24") }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        }},
        { "type": "portmap", "capabilities": { "portMappings": true } },
    ]})
}

/// kubelet's.
pub(super) fn kubelet(layout: &Layout, number: u8, hierarchies: &Hierarchies) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}/{}", layout.cgroup(), Place::Node(number)),
        "failCgroupV1": *hierarchies == Hierarchies::Two,
        "failSwapOn": false,
        // Who can reach it is root on this machine.
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "resolvConf": "",
        "readOnlyPort": 0,
        // So that a node that is gone is known to be gone within seconds.
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "5s",
        "serializeImagePulls": false,
        // The disk is the whole machine's: nothing is evicted for it.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "10Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
    })
}

/// kube-proxy's. It leaves alone what belongs to the whole machine: limits of connection tracking.
pub(super) fn proxy(name: &str, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": name,
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": "10.244.0.0/16",
        "bindAddress": "0.0.0.0",
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "nftables": { "minSyncPeriod": "100ms", "syncPeriod": "30s" },
    })
}
