//! The kernel's TCP table as flow table: who has a connection?

use core::{ffi::c_void, mem::offset_of, ptr};

use aya_ebpf::{
    EbpfContext,
    bindings::{bpf_sock, bpf_sock_tuple},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie},
};
use ingress_common::Flow;
use ingress_ebpf::Socket;

/// The network namespace of the interface that the frame came in on (`BPF_F_CURRENT_NETNS`).
const CURRENT_NETNS: u64 = -1i32 as u64;
/// The kernel's `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: u32 = 10;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// As `bpf_sock_tuple.ipv4`.
#[repr(C)]
struct TupleV4 {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

/// As `bpf_sock_tuple.ipv6`: what a flow begins with.
const TUPLE_V6: u32 = 36;
const _: () = assert!(offset_of!(Flow, destination) == 16 && offset_of!(Flow, source_port) == 32);

// No function of its own: with one, Linux before 6.2 takes every number of a program for important,
// and looks at hundreds of thousands of instructions more. The core asks in one place only.
/// Looks for the socket that would get the flow's segment with this TCP header.
#[inline(always)]
pub(super) fn look_up<C: EbpfContext>(
    context: &C,
    flow: &Flow,
    segment: Option<&[u8; 20]>,
) -> Socket {
    let tuple_v4;
    let (tuple, size): (*const bpf_sock_tuple, u32) =
        match (flow.source.as_v4(), flow.destination.as_v4()) {
            (Some(source), Some(destination)) => {
                tuple_v4 = TupleV4 {
                    source,
                    destination,
                    source_port: flow.source_port.to_wire(),
                    destination_port: flow.destination_port.to_wire(),
                };
                (ptr::from_ref(&tuple_v4).cast(), size_of::<TupleV4>() as u32)
            }
            _ => (ptr::from_ref(flow).cast(), TUPLE_V6),
        };
    // SAFETY: The context is the program's own, the tuple has `size` initialised bytes, and the
    // kernel only reads it. The socket comes with a reference that is released below, on every
    // path.
    let socket: *mut bpf_sock =
        unsafe { bpf_skc_lookup_tcp(context.as_ptr(), tuple.cast_mut(), size, CURRENT_NETNS, 0) };
    if socket.is_null() {
        return Socket::Unknown;
    }
    // SAFETY: The socket is not null and we hold a reference. The verifier admits this field for
    // all kinds of sockets, request and TIME-WAIT ones too.
    let state = unsafe { (*socket).state };
    let answer = if state != LISTEN {
        Socket::Known
    } else if segment.is_some_and(|segment| {
        segment[13] & (SYN | RST | ACK) == ACK && completes_cookie(socket, flow, segment)
    }) {
        Socket::Known
    } else {
        Socket::Listening
    };
    // SAFETY: The socket is not null, and this is the only release of its reference.
    unsafe { bpf_sk_release(socket.cast()) };
    answer
}

/// Under a SYN flood a listener keeps no half-open sockets: then the ACK itself proves that this
/// node sent the SYN-ACK. The check is cheap as long as the listener's queue does not overflow.
#[inline(always)]
fn completes_cookie(listener: *mut bpf_sock, flow: &Flow, segment: &[u8; 20]) -> bool {
    // The check reads of the IP header only its version and its addresses.
    match (flow.source.as_v4(), flow.destination.as_v4()) {
        (Some(source), Some(destination)) => {
            let [source, destination] = [source, destination].map(u32::from_ne_bytes);
            let version = u32::from_ne_bytes([0x45, 0, 0, 0]);
            check_cookie(listener, &[version, 0, 0, source, destination], segment)
        }
        _ => {
            let [s0, s1, s2, s3] = flow.source.words();
            let [d0, d1, d2, d3] = flow.destination.words();
            let version = u32::from_ne_bytes([0x60, 0, 0, 0]);
            check_cookie(listener, &[version, 0, s0, s1, s2, s3, d0, d1, d2, d3], segment)
        }
    }
}

#[inline(always)]
fn check_cookie<const WORDS: usize>(
    listener: *mut bpf_sock,
    ip: &[u32; WORDS],
    segment: &[u8; 20],
) -> bool {
    // SAFETY: The caller holds a reference to the listener; both headers are initialised memory of
    // the sizes given, and only read.
    let checked = unsafe {
        bpf_tcp_check_syncookie(
            listener.cast(),
            ptr::from_ref(ip).cast_mut().cast::<c_void>(),
            size_of_val(ip) as u32,
            ptr::from_ref(segment).cast_mut().cast(),
            segment.len() as u32,
        )
    };
    checked == 0
}
