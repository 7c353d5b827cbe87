//! What a hook decided, and how the kernel is told.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use weft_abi::{Direction, Hook, Reason};

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
    /// Counted as that, with what the kernel was asked for already.
    Sent(Reason, i32),
}

/// In a clsact filter as in TCX this asks the next program, at last the stack or the device.
pub(crate) const NEXT: i32 = TC_ACT_UNSPEC;

impl Verdict {
    /// The decision behind a reason; [`Reason::Delivered`] alone does not say where to.
    #[inline(always)]
    pub(crate) fn of(reason: Reason) -> Result<Self, Reason> {
        match reason {
            Reason::Passed => Ok(Self::Pass),
            Reason::Answered => Ok(Self::Answer),
            Reason::Host | Reason::Translated => Ok(Self::Sent(reason, NEXT)),
            reason => Err(reason),
        }
    }
}

/// Carries a decision out and counts it with the bytes that the packet had; the result is the hook's.
#[inline(always)]
pub(crate) fn conclude(skb: &mut Skb, hook: Hook, bytes: u32, decision: Result<Verdict, Reason>) -> i32 {
    conclude_as(skb, hook, hook.direction(), bytes, decision)
}

/// The same at a hook that packets pass in both directions.
#[inline(always)]
pub(crate) fn conclude_as(
    skb: &mut Skb,
    hook: Hook,
    direction: Direction,
    bytes: u32,
    decision: Result<Verdict, Reason>,
) -> i32 {
    let (reason, action) = match decision {
        Ok(Verdict::Deliver(ifindex)) => (Reason::Delivered, skb.redirect_peer(ifindex)),
        Ok(Verdict::Pass) => (Reason::Passed, NEXT),
        Ok(Verdict::Answer) => (Reason::Answered, skb.send_back()),
        Ok(Verdict::Sent(reason, action)) => (reason, action),
        Err(reason) => (reason, TC_ACT_SHOT),
    };
    // Before the records: the verifier follows each reason on its own up to here, and all as one from here on.
    maps::count(reason, direction, bytes);
    if decision.is_err() {
        event::drop(skb, reason, hook, direction);
    }
    if maps::trace().is_some() {
        event::trace(skb, reason, hook, direction);
    }
    action
}
