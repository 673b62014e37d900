//! The connection without I/O, frame by frame: against what RFC 9113 says (`rules`), what handlers
//! of requests do (`streams`), what a client must not get by it (`limits`); then with a transport
//! (`driver`), in the client's role (`client`), and against other implementations (`server`).

mod client;
mod driver;
mod limits;
mod peer;
mod rules;
mod server;
mod speed;
mod streams;
