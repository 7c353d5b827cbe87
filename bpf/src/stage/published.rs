//! The first packet for a port of the node that is a pod's; from then on `flows` and `nat` know the way.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{Flow, FlowFlags, HostPort, Nat, Reason, Target, Tuple};

use super::{age, deliver, port};
use crate::maps::{self, Opening};
use crate::parse::{Kind, Packet, Transport};
use crate::rewrite::{self, End};
use crate::skb::Skb;
use crate::verdict::{NEXT, Verdict};

/// Delivers a packet that no flow is known for to the pod whose port it asks for; what is for the node goes on untouched.
#[inline(always)]
pub(crate) fn begin(skb: &mut Skb, packet: &Packet, transport: &Transport, uplink: bool) -> Result<Verdict, Reason> {
    let host = Ok(Verdict::Sent(Reason::Host, NEXT));
    // Nobody on this node is beyond an uplink; the stack refuses what says so.
    if transport.kind == Kind::Echo || uplink && (maps::pod(&packet.src).is_some() || maps::is_node_addr(&packet.src)) {
        return host;
    }
    let opening = maps::opening().ok_or(Reason::FlowTable)?;
    opening.asked = transport.inbound(packet);
    opening.tcp = transport.flags.into();
    match skb.call(open_port) {
        OPENED => deliver_first(skb, packet, transport),
        NOBODYS => host,
        EXHAUSTED => Err(Reason::NatExhausted),
        _ => Err(Reason::FlowTable),
    }
}

/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn deliver_first(skb: &mut Skb, packet: &Packet, transport: &Transport) -> Result<Verdict, Reason> {
    let Opening { asked, shown, nat, .. } = maps::opening().ok_or(Reason::FlowTable)?;
    let pod = maps::pod(&nat.inside).ok_or(Reason::NoSuchPod)?;
    if shown.outside != asked.outside {
        rewrite::translate(skb, packet, transport, End::Source, &shown.outside, shown.outside_port)?;
    }
    rewrite::translate(skb, packet, transport, End::Destination, &nat.inside, nat.inside_port)?;
    deliver::translated(skb, pod)
}

/// Forgets a flow to a pod that is gone.
#[inline(always)]
pub(crate) fn forget(asked: &Tuple, nat: &Nat) {
    maps::remove_nat(asked);
    maps::remove_flow(&asked.inside_as(nat.inside, nat.inside_port));
}

const OPENED: u32 = 0;
const NOBODYS: u32 = 1;
const EXHAUSTED: u32 = 2;
const REFUSED: u32 = 3;

/// Verified once and by itself (a global function to the kernel), because it is called from many states; therefore it
/// takes what it needs from a place of this processor's.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn open_port(ctx: *mut __sk_buff) -> u32 {
    let Some(opening) = maps::opening() else { return REFUSED };
    open(&mut Skb::of(ctx), opening).err().unwrap_or(OPENED)
}

#[inline(always)]
fn open(skb: &mut Skb, opening: &mut Opening) -> Result<(), u32> {
    let Tuple { inside, inside_port, protocol, .. } = opening.asked;
    opening.target = Target { addr: inside, port: inside_port, protocol, pad: 0 };
    let port = maps::host_port(&mut opening.target).ok_or(NOBODYS)?;
    if !maps::is_node_addr(&opening.asked.inside) {
        return Err(NOBODYS);
    }
    opening.shown = opening.asked;
    if port.pod == opening.asked.outside {
        disguise(skb, opening)?;
        if let Some(live) = maps::nat(&opening.shown)
            && live.get().endpoint_id == port.endpoint_id
        {
            opening.nat = live.get();
            age::touch_port(live, &opening.shown, &opening.nat, opening.tcp as u8);
            return Ok(());
        }
    } else {
        admit(skb, opening)?;
    }
    record(skb, opening, port)
}

/// Leaves to the node what a socket of its own waits for, and what only ends a flow.
#[inline(always)]
fn admit(skb: &Skb, opening: &Opening) -> Result<(), u32> {
    let ends = opening.tcp & u32::from(Transport::RST) != 0;
    if ends || skb.is_taken(&opening.asked) { Err(NOBODYS) } else { Ok(()) }
}

/// A pod that asks for its own port sees itself by the node's address: it would not take its own for another's.
#[inline(always)]
fn disguise(skb: &mut Skb, opening: &mut Opening) -> Result<(), u32> {
    opening.tuple = opening.asked.reversed();
    let live = if let Some(live) = maps::flow(&opening.tuple) {
        age::touch_out(live, &opening.tuple, opening.tcp as u8);
        live
    } else {
        admit(skb, opening)?;
        let Opening { tuple, .. } = opening;
        let assigned = port::assign(skb, |wish| {
            wish.tuple = *tuple;
            wish.flow = Flow { nat_addr: tuple.outside, ..Flow::default() };
            wish.fixed = u32::from(!port::can_change(tuple.protocol));
        });
        match assigned {
            Ok(_) => maps::flow(&opening.tuple).ok_or(REFUSED)?,
            Err(Reason::NatExhausted) => return Err(EXHAUSTED),
            Err(_) => return Err(REFUSED),
        }
    };
    let flow = live.get();
    if flow.flags & FlowFlags::TRANSLATED == 0 {
        return Err(NOBODYS);
    }
    (opening.shown.outside, opening.shown.outside_port) = (flow.nat_addr, flow.nat_port);
    Ok(())
}

/// Records both halves of the flow. Whoever asks by two addresses of the node at once is answered by the last.
#[inline(always)]
fn record(skb: &Skb, opening: &mut Opening, port: &HostPort) -> Result<(), u32> {
    let seen = maps::now();
    let flags = FlowFlags::INBOUND | FlowFlags::PORT | age::confirmed(opening.tcp as u8);
    opening.tuple = opening.shown;
    (opening.tuple.inside, opening.tuple.inside_port) = (port.pod, port.port);
    opening.flow = Flow {
        seen,
        created: seen,
        flags: flags | FlowFlags::TRANSLATED,
        ifindex: skb.ifindex(),
        nat_addr: opening.asked.inside,
        nat_port: opening.asked.inside_port,
        ..Flow::default()
    };
    opening.nat = Nat { seen, flags, inside: port.pod, inside_port: port.port, pad: 0, endpoint_id: port.endpoint_id };
    maps::put_flow(&opening.tuple, &opening.flow).map_err(|_| REFUSED)?;
    maps::put_nat(&opening.shown, &opening.nat).map_err(|_| REFUSED)
}
