//! Kubernetes' own programs: an API server for tests, and what a whole cluster is made of.

pub mod cluster;
mod control;
mod credentials;
mod keeper;
mod objects;
mod programs;
mod server;
mod watcher;

pub use objects::{Kind, Objects};
pub use programs::{Programs, VERSION};
pub use server::{Account, ApiServer};
pub use watcher::Watcher;
