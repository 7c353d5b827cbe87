//! tc ingress of the loopback device: what the node sends to itself, where its sockets cannot be asked.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{Hook, Reason};

use crate::maps;
use crate::parse;
use crate::skb::Skb;
use crate::stage::reverse;
use crate::verdict::{NEXT, Verdict, conclude};

#[expect(clippy::needless_pass_by_value, reason = "the macro gives the context away")]
#[classifier]
fn from_loopback(ctx: TcContext) -> i32 {
    let mut skb = Skb::new(&ctx);
    let bytes = skb.len();
    let decision = judge(&mut skb);
    conclude(&mut skb, Hook::FromLoopback, bytes, decision)
}

#[inline(always)]
fn judge(skb: &mut Skb) -> Result<Verdict, Reason> {
    let host = Ok(Verdict::Sent(Reason::Host, NEXT));
    // The node's stack judges what it sends to itself.
    let Some(Ok(packet)) = parse::ip(skb) else { return host };
    if packet.multicast || !maps::has_ports() {
        return host;
    }
    match reverse::local(skb, &packet)? {
        Verdict::Pass => host,
        verdict => Ok(verdict),
    }
}
