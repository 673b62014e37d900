//! aya's marker for types that may be read from and written to maps. Only types whose bytes
//! bytemuck has checked get it.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe trait; bytemuck has proved its contract")]

use crate::{
    Address, Config, Counters, Flow, FlowNode, Fragmented, Group, Heart, Meta, Node, Peer, Row,
    Scratch, VipAddress, VipKey, VipValue,
    observe::{CaptureFilter, Forwards, NodeLabel, Observe, Seen},
};

macro_rules! aya_pod {
    ($($type:ty),+ $(,)?) => {$(
        const _: () = {
            const fn is_pod<T: bytemuck::Pod>() {}
            is_pod::<$type>()
        };
        // SAFETY: `is_pod` above holds only if bytemuck has derived `Pod`: the type is `Copy`,
        // valid for every bit pattern and free of padding, which is all that aya asks for.
        unsafe impl aya::Pod for $type {}
    )+};
}

aya_pod!(
    Address,
    Config,
    Counters,
    Flow,
    FlowNode,
    Fragmented,
    Group,
    Heart,
    Meta,
    Node,
    Peer,
    Row,
    Scratch,
    VipAddress,
    VipKey,
    VipValue,
    CaptureFilter,
    Forwards,
    NodeLabel,
    Observe,
    Seen,
);
