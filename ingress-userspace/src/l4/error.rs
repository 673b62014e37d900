//! Why the kernel tier could not start, told apart by what the operator can do.

use std::{io, net::IpAddr, path::PathBuf};

/// The kernel tier cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum L4Error {
    /// Grant it, or run with `--l4=off`.
    #[error("steering needs {capability}, which this process does not have")]
    MissingCapability {
        /// As `capabilities(7)` calls it.
        capability: &'static str,
    },
    /// Upgrade the kernel.
    #[error("steering needs Linux {needed} or later, and this is {running}")]
    OldKernel {
        /// The oldest version that will do.
        needed: &'static str,
        /// The version that runs.
        running: String,
    },
    /// Report it: the verifier refused a program that it should take.
    #[error("the kernel refused the program {program}")]
    Refused {
        /// The program's name.
        program: &'static str,
        /// The verifier's words.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// Name another interface.
    #[error("there is no network interface {interface}")]
    UnknownInterface {
        /// As it was configured.
        interface: String,
    },
    /// Name only the one that packets come in on first.
    #[error(
        "{upper} is above {lower}: packets would be steered twice; name only one of them, such as \
         {lower}"
    )]
    Stacked {
        /// The one that packets pass first.
        lower: String,
        /// The one that is made of it.
        upper: String,
    },
    /// End it, or give this one a BPF directory of its own.
    #[error("another agent works on the programs in {path}; there can be one at a time")]
    AnotherAgent {
        /// The BPF directory.
        path: PathBuf,
    },
    /// Detach the other program.
    #[error("another XDP program is attached to {interface}")]
    InterfaceBusy {
        /// The interface.
        interface: String,
    },
    /// The interface takes the program in no mode.
    #[error("the program cannot be attached to {interface}")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Build with `cargo xtask build`.
    #[error("built without the eBPF object; `cargo xtask build` builds both")]
    NoObject,
    /// The object and the agent are not of one build.
    #[error("the eBPF object has no {kind} {name}")]
    Incomplete {
        /// `map` or `program`.
        kind: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// Unload with the version that made the maps.
    #[error(
        "the maps in {path} are of ABI version {found}, this agent needs {needed}; \
         run `penstock l4 unload` to remove them"
    )]
    AbiMismatch {
        /// The pin directory.
        path: PathBuf,
        /// Their version.
        found: u32,
        /// Ours.
        needed: u32,
    },
    /// The directory for pins cannot be used.
    #[error("the BPF directory {path} cannot be {action}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// `created`, `mounted`, …
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The object cannot be loaded.
    #[error("the eBPF object cannot be loaded")]
    Load(#[source] Box<aya::EbpfError>),
    /// A map cannot be read or written.
    #[error("the map {map} cannot be {action}")]
    Map {
        /// Its name.
        map: &'static str,
        /// `read`, `written`, `opened`.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A virtual address cannot be put on the loopback interface.
    #[error("the virtual address {address} cannot be {action} the loopback interface")]
    VirtualAddress {
        /// The address.
        address: IpAddr,
        /// `added to` or `removed from`.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
    /// Routes and neighbours cannot be asked for.
    #[error("routes and neighbours cannot be read")]
    Netlink(#[source] io::Error),
    /// The thread of the kernel tier cannot be started.
    #[error("the thread of the kernel tier cannot be started")]
    Thread(#[source] io::Error),
    /// End whatever else holds the link, such as `bpftool`.
    #[error("the program stays attached to {interface}: another process holds its link")]
    StillAttached {
        /// The interface.
        interface: String,
    },
    /// Report it: the kernel does not run a program on a made packet.
    #[error("the kernel does not run the program on a made packet")]
    TestRun(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Wait until it ends, or end it.
    #[error("another capture runs here; there can be one at a time")]
    CaptureRuns,
    /// Name another one.
    #[error("{what} {value} is not known here; there are: {known}")]
    Unknown {
        /// What was to be named: `the virtual service`, `the reason`.
        what: &'static str,
        /// What was given.
        value: String,
        /// What could be given.
        known: String,
    },
    /// A file or the terminal cannot be used.
    #[error("{path} cannot be {action}")]
    File {
        /// Its path.
        path: PathBuf,
        /// `created`, `written`, `read`.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing is loaded.
    #[error("nothing is loaded below {path}")]
    NotLoaded {
        /// The BPF directory.
        path: PathBuf,
    },
}
