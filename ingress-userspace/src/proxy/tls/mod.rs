//! The input and output of a handshake; what it is answered with is [`crate::tls`]'s to say.

mod failure;
mod first_byte;
mod handshake;

pub(crate) use failure::HandshakeFailure;
pub(crate) use first_byte::FirstByte;
pub(super) use handshake::handshake;
