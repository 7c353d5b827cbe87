//! Records of packets: what they said of themselves, true or not.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::{Addr, Direction, Event, EventKind, Hook, Reason};

use crate::maps;
use crate::parse::{Ethernet, Ethertype, Ipv6Header, Protocol};
use crate::skb::Skb;

/// Records a packet that is dropped.
///
/// Verified once and by itself (a global function to the kernel), because every verdict leads here; the same holds for
/// [`record_trace`].
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_drop(ctx: *mut __sk_buff, reason: u32, hook: u32, direction: u32) -> u32 {
    let Some(event) = maps::blank_event() else { return 0 };
    (event.kind, event.reason, event.direction) = (EventKind::Drop as u8, reason, direction);
    describe(&Skb::of(ctx), hook, event);
    maps::record(event);
    0
}

/// Records a packet if it is one of those that somebody traces.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn record_trace(ctx: *mut __sk_buff, reason: u32, hook: u32, direction: u32) -> u32 {
    let (Some(filter), Some(event)) = (maps::trace(), maps::blank_event()) else { return 0 };
    (event.kind, event.reason, event.direction) = (EventKind::Trace as u8, reason, direction);
    describe(&Skb::of(ctx), hook, event);
    let [first, second] = &filter.addrs;
    let is_end = |addr: &Addr| *addr == Addr::default() || *addr == event.src || *addr == event.dst;
    let port = filter.port == 0 || filter.port == event.src_port || filter.port == event.dst_port;
    let protocol = filter.protocol == 0 || filter.protocol == event.protocol;
    if is_end(first) && is_end(second) && port && protocol {
        maps::record(event);
    }
    0
}

/// Leaves a record of a drop.
#[inline(always)]
pub(crate) fn drop(skb: &mut Skb, reason: Reason, hook: Hook, direction: Direction) {
    skb.tell(record_drop, [reason as u32, hook as u32, direction as u32]);
}

/// Leaves a record of a packet that is traced.
#[inline(always)]
pub(crate) fn trace(skb: &mut Skb, reason: Reason, hook: Hook, direction: Direction) {
    skb.tell(record_trace, [reason as u32, hook as u32, direction as u32]);
}

/// Fills in what can be read of the packet.
#[inline(always)]
fn describe(skb: &Skb, hook: u32, event: &mut Event) {
    let ethertype = skb.ethertype();
    event.ktime_ns = maps::ktime();
    event.ifindex = skb.ifindex();
    event.len = skb.len();
    event.ethertype = ethertype;
    event.hook = hook as u8;
    skb.fill(0, &mut event.dst_mac);
    skb.fill(6, &mut event.src_mac);
    let mut ports_at = Ethernet::LEN + size_of::<Ipv6Header>();
    match ethertype {
        Ethertype::IPV4 => {
            if !v4(skb, event, [12, 16]) {
                return;
            }
            skb.fill(Ethernet::LEN + 9, &mut event.protocol);
            let mut version_ihl = 0_u8;
            skb.fill(Ethernet::LEN, &mut version_ihl);
            ports_at = Ethernet::LEN + usize::from(version_ihl & 0x0f) * 4;
        }
        Ethertype::IPV6 => {
            if !skb.fill(Ethernet::LEN + 24, &mut event.dst) {
                return;
            }
            skb.fill(Ethernet::LEN + 8, &mut event.src);
            skb.fill(Ethernet::LEN + 6, &mut event.protocol);
        }
        Ethertype::ARP => {
            v4(skb, event, [14, 24]);
            return;
        }
        _ => return,
    }
    if matches!(event.protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP) {
        skb.fill(ports_at, &mut event.src_port);
        skb.fill(ports_at + 2, &mut event.dst_port);
    }
}

/// Source and destination at these offsets behind the Ethernet header; whether both are there.
#[inline(always)]
fn v4(skb: &Skb, event: &mut Event, [src, dst]: [usize; 2]) -> bool {
    let (mut from, mut to) = (0_u32, 0_u32);
    let whole = skb.fill(Ethernet::LEN + src, &mut from) & skb.fill(Ethernet::LEN + dst, &mut to);
    if whole {
        (event.src, event.dst) = (Addr::from_v4_word(from), Addr::from_v4_word(to));
    }
    whole
}
