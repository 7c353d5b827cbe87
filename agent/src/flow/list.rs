//! The tables for people: some of the flows, all the translations.

use std::net::IpAddr;

use weft_abi::{Addr, ECHO, Flow, FlowFlags, Nat, TICK_SHIFT, Target, Tuple};
use weft_cni::api::{Exhausted, FlowInfo, Flows, Mapping, Socket};

use crate::datapath::DatapathError;

use super::Timeouts;
use super::state::{Back, State, last_seen, protocol, state};
use super::tables::{Tables, nat_key};
use super::timeouts::Ticks;

/// Which flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Of these pods; of all when there are none.
    pub(crate) pods: Vec<IpAddr>,
    pub(crate) state: Option<State>,
    pub(crate) protocol: Option<u8>,
    /// Seconds since their first packet.
    pub(crate) min_age: Option<u64>,
    /// Seconds since their first packet.
    pub(crate) max_age: Option<u64>,
    /// At most so many.
    pub(crate) limit: usize,
}

/// The flows that match. Those of a table that changes meanwhile may be missing or twice.
pub(crate) fn flows(
    tables: &impl Tables,
    filter: &Filter,
    timeouts: &Timeouts,
    now: u32,
) -> Result<Flows, DatapathError> {
    let timeouts = timeouts.ticks(false);
    let pods: Vec<Addr> = filter.pods.iter().copied().map(Addr::from).collect();
    let (mut found, mut total, mut matching) = (Vec::new(), 0, 0);
    tables.visit_flows(|keys, values| {
        total += keys.len() as u64;
        for (key, flow) in keys.iter().zip(values) {
            let age = secs(now.saturating_sub(flow.created));
            if !(pods.is_empty() || pods.contains(&key.inside))
                || filter.protocol.is_some_and(|protocol| protocol != key.protocol)
                || filter.min_age.is_some_and(|min| age < min)
                || filter.max_age.is_some_and(|max| age > max)
            {
                continue;
            }
            // The state needs the other half, which costs a call.
            let is_told = found.len() < filter.limit;
            if is_told || filter.state.is_some() {
                let back = if flow.flags & FlowFlags::TRANSLATED == 0 { None } else { back(tables, key, flow) };
                let state = state(key.protocol, flow, back);
                if filter.state.is_some_and(|wanted| wanted != state) {
                    continue;
                }
                if is_told {
                    found.push(info(key, flow, back, state, &timeouts, now));
                }
            }
            matching += 1;
        }
    })?;
    found.sort_by_key(|flow| (flow.inside, flow.outside));
    Ok(Flows { flows: found, matching, total })
}

/// Translations, at most so many.
pub(crate) fn mappings(tables: &impl Tables, limit: usize, now: u32) -> Result<Vec<Mapping>, DatapathError> {
    let mut found = Vec::new();
    tables.visit_nat(|keys, values| {
        let room = limit - found.len();
        found.extend(keys.iter().zip(values).take(room).map(|(key, nat)| mapping(key, nat, now)));
    })?;
    found.sort_by_key(|mapping| (mapping.node, mapping.outside));
    Ok(found)
}

/// Destinations towards which ports ran out, the worst first.
pub(crate) fn exhausted(mut counts: Vec<(Target, u64)>) -> Vec<Exhausted> {
    counts.sort_by_key(|(_, flows)| std::cmp::Reverse(*flows));
    let one = |(target, flows): (Target, u64)| Exhausted {
        protocol: protocol::name(target.protocol),
        outside: socket(target.addr, protocol::has_ports(target.protocol).then_some(target.port)),
        flows,
    };
    counts.into_iter().map(one).collect()
}

/// A translation that cannot be read counts as none: the list is a view of a moment.
fn back(tables: &impl Tables, key: &Tuple, flow: &Flow) -> Option<Back> {
    tables.nat(&nat_key(key, flow)).ok().flatten().map(Back::from)
}

fn info(key: &Tuple, flow: &Flow, back: Option<Back>, state: State, timeouts: &Ticks, now: u32) -> FlowInfo {
    let idle = now.saturating_sub(last_seen(flow, back));
    let (inside, outside) = ends(key);
    let translated = flow.flags & FlowFlags::TRANSLATED != 0;
    FlowInfo {
        protocol: protocol::name(key.protocol),
        inside,
        outside,
        translated: translated
            .then(|| socket(flow.nat_addr, protocol::has_ports(key.protocol).then_some(flow.nat_port))),
        inbound: flow.flags & FlowFlags::INBOUND != 0,
        via_stack: flow.flags & FlowFlags::VIA_STACK != 0,
        host: flow.flags & FlowFlags::HOST != 0,
        state: state.name().to_owned(),
        age: secs(now.saturating_sub(flow.created)),
        idle: secs(idle),
        expires_in: secs(timeouts.of(key.protocol, state).saturating_sub(idle)),
        ifindex: flow.ifindex,
        endpoint: None,
    }
}

fn mapping(key: &Tuple, nat: &Nat, now: u32) -> Mapping {
    let (node, outside) = ends(key);
    Mapping {
        protocol: protocol::name(key.protocol),
        node,
        outside,
        inside: socket(nat.inside, protocol::has_ports(key.protocol).then_some(nat.inside_port)),
        idle: (nat.seen != 0).then(|| secs(now.saturating_sub(nat.seen))),
    }
}

/// Inside and outside. Whoever answers an echo has no identifier of its own.
fn ends(key: &Tuple) -> (Socket, Socket) {
    let echo = matches!(key.protocol, protocol::ICMP | protocol::ICMPV6);
    let port = |port: u16, other: u16| {
        let is_answering = echo && port == ECHO && other != ECHO;
        (protocol::has_ports(key.protocol) && !is_answering).then_some(port)
    };
    (
        socket(key.inside, port(key.inside_port, key.outside_port)),
        socket(key.outside, port(key.outside_port, key.inside_port)),
    )
}

fn socket(addr: Addr, port: Option<u16>) -> Socket {
    Socket { address: addr.into(), port: port.map(u16::from_be) }
}

fn secs(ticks: u32) -> u64 {
    (u64::from(ticks) << TICK_SHIFT) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_has_one_identifier() {
        let addr = |octets: [u8; 4]| IpAddr::from(octets).into();
        let key = |protocol, inside_port: u16, outside_port| {
            let (inside, outside) = (addr([10, 0, 0, 2]), addr([198, 51, 100, 7]));
            Tuple::between(protocol, (inside, inside_port.to_be()), (outside, outside_port))
        };
        for (protocol, port, other, inside, outside) in [
            (protocol::ICMP, 700, ECHO, Some(700), None),
            (protocol::ICMP, 8, 700_u16.to_be(), None, Some(700)),
            (protocol::TCP, 8, 700_u16.to_be(), Some(8), Some(700)),
            (47, 0, 0, None, None),
        ] {
            let (this, that) = ends(&key(protocol, port, other));
            assert_eq!((this.port, that.port), (inside, outside), "{protocol}");
        }
    }
}
