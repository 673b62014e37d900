//! The far ends of the nodes' links. A veth that sends from XDP delivers only to a peer that has an
//! XDP program itself; elsewhere the packet is lost, and the sender counts it as sent.

use std::path::Path;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};

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
        program.load().context("the kernel refuses xdp_pass")?;
        fabric.run(|| {
            ports.iter().try_for_each(|port| {
                let attached = program.attach(port, XdpMode::Driver);
                attached.map(drop).with_context(|| format!("cannot attach to {port}"))
            })
        })??;
        Ok(Self { _object: object })
    }
}
