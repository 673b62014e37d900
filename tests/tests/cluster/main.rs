//! Penstock installed in a real cluster: three nodes with kubelet and containerd, the image, the chart
//! and the manifests as they are shipped, and clients outside.
//!
//! `PENSTOCK_REQUIRE=nodes cargo xtask test cluster` builds what it takes; as root.
#![forbid(unsafe_code)]

mod balancer;
mod certificates;
mod chart;
mod kernel_tier;
mod manifests;
mod rollout;
mod site;
mod traffic;
