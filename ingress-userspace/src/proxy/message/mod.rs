//! Heads of requests and answers, the same for every version of HTTP: what parsers fill, stages
//! read and change, and writers write out. The text of all fields lies in one buffer that is used
//! again for the next message, so that a head costs no allocation. No I/O here.

mod fields;
mod head;
mod names;

pub(crate) use fields::{Field, Fields, fold};
pub(crate) use head::{BodyLength, RequestHead, ResponseHead, Version};
pub(crate) use names::Known;
