//! The access log (reference section 9.1): what is remembered of a request while it is answered, the
//! line that is made of it, and its way to where lines go. A request of which nothing is written
//! remembers nothing.

mod clock;
mod escape;
mod journal;
mod line;
mod outlet;
mod stream;
mod writer;

pub(super) use self::{
    clock::Clock,
    journal::{Ending, Journal, Limited},
    outlet::Outlet,
    stream::{Ends, Session, Way, Ways},
};
pub(crate) use self::{
    outlet::{Inlet, Lines},
    writer::{Writer, start},
};

/// The machine's name, as far as it has one.
pub(crate) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "-".to_owned(),
        name => name.to_owned(),
    }
}
