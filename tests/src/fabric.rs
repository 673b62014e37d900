//! The far ends of the nodes' links. A veth that sends from XDP delivers only to a peer that has an
//! XDP program itself; elsewhere the packet is lost, and the sender counts it as sent.

use std::path::Path;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use ingress_userspace::l4::object;

use crate::namespace::Namespace;

/// Holds a program that passes everything on every port of the bridge; the program goes with it.
#[derive(Debug)]
pub(crate) struct PassingPorts {
    _object: Ebpf,
}

impl PassingPorts {
    pub(crate) fn attach(fabric: &Namespace, object: &Path, ports: &[String]) -> Result<Self> {
        let mut object =
            Ebpf::load_file(object).with_context(|| format!("cannot load {}", object.display()))?;
        let program = object.program_mut("xdp_pass").context("the object has no xdp_pass")?;
        let program: &mut Xdp = program.try_into()?;
        object::load(program).context("the kernel refuses xdp_pass")?;
        fabric.run(|| {
            ports.iter().try_for_each(|port| {
                let attached = program.attach(port, XdpMode::Driver);
                attached.map(drop).with_context(|| format!("cannot attach to {port}"))
            })
        })??;
        Ok(Self { _object: object })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Pod, Pods, client, leftovers::Guard, requirement, topology::Topology};

    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn nodes_reach_each_other_through_ports_with_a_program() {
        let test = "nodes_reach_each_other_through_ports_with_a_program";
        let Some(object) = requirement::bpf(test) else { return };
        let guard = Guard::claim().unwrap();
        let topology = Topology::build(guard.id(), 2).unwrap();
        let ports: Vec<String> = topology.nodes.iter().map(|n| n.addresses.name()).collect();
        let _ports = PassingPorts::attach(&topology.fabric, &object, &ports).unwrap();

        let pod = Pod { address: "10.244.2.10:8080".parse().unwrap(), name: "far".to_owned() };
        let _pods = Pods::start(Some(&topology.nodes[1].pods), vec![pod.clone()]).unwrap();
        let fetch = || client::get(pod.address.into(), "host", "/bytes/200000", LIMIT);
        let answer = topology.nodes[0].node.block_on(fetch).unwrap().unwrap();
        assert_eq!(answer.body.len(), 200_000);
    }
}
