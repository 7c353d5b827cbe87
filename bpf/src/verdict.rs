//! What a hook decided, and how the kernel is told.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use weft_abi::{Direction, Reason};

use crate::skb::Skb;
use crate::{event, maps};

/// What becomes of a packet that is not dropped.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// Straight into the pod behind that interface.
    Deliver(u32),
    /// On its usual way; programs and filters behind ours have their say.
    Pass,
    /// It became an answer: back to where it came from.
    Answer,
}

impl Verdict {
    /// The decision behind a reason; [`Reason::Delivered`] alone does not say where to.
    #[inline(always)]
    pub(crate) fn of(reason: Reason) -> Result<Self, Reason> {
        match reason {
            Reason::Passed => Ok(Self::Pass),
            Reason::Answered => Ok(Self::Answer),
            reason => Err(reason),
        }
    }
}

/// Carries a decision out and counts it with the bytes that the packet had; the result is the hook's.
#[inline(always)]
pub(crate) fn conclude(skb: &mut Skb, direction: Direction, bytes: u32, decision: Result<Verdict, Reason>) -> i32 {
    let (reason, action) = match decision {
        Ok(Verdict::Deliver(ifindex)) => (Reason::Delivered, skb.redirect_peer(ifindex)),
        // In a clsact filter as in TCX this asks the next program.
        Ok(Verdict::Pass) => (Reason::Passed, TC_ACT_UNSPEC),
        Ok(Verdict::Answer) => (Reason::Answered, skb.send_back()),
        Err(reason) => {
            event::record(skb, reason, direction);
            (reason, TC_ACT_SHOT)
        }
    };
    maps::count(reason, direction, bytes);
    action
}
