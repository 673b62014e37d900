//! What the core says about a frame.

use ingress_common::Reason;

/// The end of one frame's way. Each has one reason, except that a tail call's target finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To be passed or dropped: the reason's verdict says which.
    Done(Reason),
    /// Rewritten, and to be sent out.
    Send {
        /// Why.
        reason: Reason,
        /// The interface to send from.
        interface: u32,
    },
    /// Unchanged, and another program's business: a slot of
    /// [`limits::tail`](ingress_common::limits::tail), and the reason if that slot is empty.
    Tail {
        /// The slot.
        slot: u32,
        /// What becomes of the frame if nobody is there.
        otherwise: Reason,
    },
}
