//! Processes of the node that ask for a port of the node are given the pod behind it before any packet is made, and see
//! what they asked for.
//!
//! Every process of the machine comes by here, so the cheapest test that sends away the most comes first: a node without
//! ports (a word of an array, which costs no call), then pods' processes (a call that reads one number), then addresses
//! that are not the node's (at most one look-up).

use weft_abi::{Addr, SockPeer, Target, Tuple};

use crate::maps;
use crate::parse::Protocol;
use crate::sock::{Family, Sock};

/// Sends the call to the pod whose port it asks for, if it does.
#[inline(always)]
pub(crate) fn give<F: Family>(sock: &mut Sock<F>) {
    if !maps::has_ports() || !sock.is_of_node() {
        return;
    }
    let Some(asked) = asked(sock) else { return };
    let mut target = asked;
    let Some(port) = maps::host_port(&mut target) else { return };
    if !sock.can_leave() || sock.is_taken(&wait_for(&asked)) {
        return;
    }
    let peer = SockPeer { cookie: sock.cookie(), addr: port.pod, port: port.port, pad: [0; 6] };
    maps::note_asked(&peer, &asked);
    sock.set(&peer.addr, peer.port);
}

/// Puts back what the socket asked for in the place of the pod that it was given.
#[inline(always)]
pub(crate) fn show<F: Family>(sock: &mut Sock<F>) {
    if !maps::has_ports() || !sock.is_of_node() {
        return;
    }
    let peer = SockPeer { cookie: sock.cookie(), addr: sock.address(), port: sock.port(), pad: [0; 6] };
    if let Some(asked) = maps::asked(&peer) {
        sock.set(&asked.addr, asked.port);
    }
}

/// What the call asks for, if that can be a port of the node.
#[inline(always)]
fn asked<F: Family>(sock: &Sock<F>) -> Option<Target> {
    let protocol = sock.protocol();
    if ![Protocol::TCP, Protocol::UDP, Protocol::SCTP].contains(&protocol) {
        return None;
    }
    let addr = match sock.address() {
        any if any.is_unspecified() && any.is_v4() => Addr::LOOPBACK_V4,
        any if any.is_unspecified() => Addr::LOOPBACK_V6,
        addr => addr,
    };
    let own = addr.is_loopback() || maps::is_node_addr(&addr);
    own.then(|| Target { addr, port: sock.port(), protocol, pad: 0 })
}

/// Whoever listens there listens for anybody.
#[inline(always)]
fn wait_for(asked: &Target) -> Tuple {
    Tuple {
        inside: asked.addr,
        outside: Addr::default(),
        inside_port: asked.port,
        outside_port: 0,
        protocol: asked.protocol,
        ..Tuple::default()
    }
}
