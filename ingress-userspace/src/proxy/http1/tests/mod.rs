//! Tests of the pieces that need no connection. The sides are tested with a running agent, in
//! `tests/agent`.

mod framing;
mod heads;
