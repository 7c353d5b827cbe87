//! Processes of the node that ask for a port of the node: what their sockets get, what they see, and whose they are.

mod sock_links;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};
use weft_tests::node::{Attach, Family, Node};
use weft_tests::publish::{self, HOST_PORT, Published, Server};
use weft_tests::traffic::meet::{self, Tcp};

/// A node, and a pod on it that has ports of the node.
fn set() -> Result<(Node, Published)> {
    let node = Node::start(Attach::preferred())?;
    let published = Published::attach(&node)?;
    Ok((node, published))
}

/// The node's port at this address.
fn at(address: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(address.into(), HOST_PORT)
}

/// What a connection comes to from a socket that was made ready like this.
fn connect(
    node: &Node,
    target: SocketAddr,
    prepare: impl Fn(&Socket) -> Result<()> + Send + Sync,
) -> Result<Result<TcpStream, ErrorKind>> {
    node.netns().enter(|| {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).context("open a socket")?;
        prepare(&socket)?;
        let connected = socket.connect_timeout(&target.into(), Duration::from_secs(2));
        Ok(connected.map(|()| socket.into()).map_err(|error| error.kind()))
    })?
}

#[test]
fn a_socket_sees_what_it_asked_for() -> Result<()> {
    let (node, Published { pod: _pod, server }) = set()?;
    let own = Family::BOTH.map(|family| node.gateway(family));
    let [IpAddr::V4(own4), IpAddr::V6(own6)] = own else { unreachable!("{own:?}") };
    let far = Ipv4Addr::new(127, 9, 8, 7);
    let v4 = [Ipv4Addr::LOCALHOST, far, own4];
    let asked = v4.map(IpAddr::V4).into_iter().chain([Ipv6Addr::LOCALHOST, own6].map(IpAddr::V6));
    // Dual-stack sockets.
    for address in asked.chain(v4.map(|v4| v4.to_ipv6_mapped().into())) {
        let seen = server.must_answer(node.netns(), at(address))?;
        ensure!(own.contains(&seen), "by {address} seen as {seen}");
    }
    // The address of nobody is the node itself.
    for (any, loopback) in [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    ] {
        let met = server.tcp.meet(node.netns(), at(any)).with_context(|| format!("connect to {any}"))?;
        ensure!(met.peer == at(loopback), "by {any} it talks to {}", met.peer);
    }
    Ok(())
}

#[test]
fn one_socket_of_datagrams_is_answered_by_each_address_that_it_asks() -> Result<()> {
    let (node, Published { pod: _pod, server }) = set()?;
    let other = Server::listen(node.netns(), 40_000)?;
    let any = meet::udp_socket(node.netns(), (Ipv6Addr::UNSPECIFIED, 0).into())?;
    let (own4, own6) = (node.gateway(Family::V4), node.gateway(Family::V6));
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        v6 @ IpAddr::V6(_) => v6,
    };
    let asked = [own4, Ipv4Addr::LOCALHOST.into(), own6, Ipv6Addr::LOCALHOST.into(), own4].map(mapped);
    for target in asked.map(at) {
        let (_, from) = server.exchange(&any, target)?;
        ensure!(from == target, "{target} was asked, {from} answered");
    }
    // A server that is none of ours.
    let target = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 40_000);
    let (_, from) = other.exchange(&any, target)?;
    ensure!(from == target, "{target} was asked, {from} answered");
    Ok(())
}

#[test]
fn a_socket_that_cannot_leave_the_loopback_device_is_refused_at_once() -> Result<()> {
    let (node, Published { pod: _pod, server }) = set()?;
    for family in Family::BOTH {
        let loopback = publish::loopback(family);
        let refused = |target, prepare: &(dyn Fn(&Socket) -> Result<()> + Send + Sync)| {
            let outcome = connect(&node, target, prepare)?;
            ensure!(outcome.as_ref().err() == Some(&ErrorKind::ConnectionRefused), "{target}: {outcome:?}");
            Ok(())
        };
        let bind = |socket: &Socket| socket.bind(&SocketAddr::new(loopback, 0).into()).context("bind");
        refused(at(loopback), &bind)?;
        for target in [at(loopback), at(node.gateway(family))] {
            // Without us the kernel refuses some of these and leaves others without an answer.
            let outcome = connect(&node, target, bind)?;
            ensure!(outcome.is_err(), "{target}: {outcome:?}");
            let datagrams = meet::udp_socket(node.netns(), SocketAddr::new(loopback, 0))?;
            // Nobody is there: whether the socket hears of it already is a matter of time.
            let _ = datagrams.send_to(b"who?", target);
            server.must_hear_nothing()?;
        }
        refused(at(loopback), &|socket| socket.bind_device(Some(b"lo")).context("bind to a device"))?;
        // An address that others can answer is as good as none.
        let own = node.gateway(family);
        let bound =
            connect(&node, at(loopback), |socket| socket.bind(&SocketAddr::new(own, 0).into()).context("bind"))?;
        ensure!(
            bound.as_ref().is_ok_and(|stream| stream.peer_addr().is_ok_and(|peer| peer == at(loopback))),
            "{bound:?}"
        );
    }
    Ok(())
}

#[test]
fn pods_ask_for_themselves() -> Result<()> {
    let (node, Published { pod, server }) = set()?;
    let other = node.pod()?;
    for netns in [pod.netns(), other.netns()] {
        for family in Family::BOTH {
            publish::must_be_refused(netns, at(publish::loopback(family)))?;
        }
        let own = Server::listen(netns, HOST_PORT)?;
        for family in Family::BOTH {
            own.must_answer(netns, at(publish::loopback(family)))?;
        }
    }
    server.must_hear_nothing()
}

#[test]
fn a_process_that_listens_keeps_what_it_listens_on() -> Result<()> {
    let (node, Published { pod: _pod, server }) = set()?;
    for family in Family::BOTH {
        let loopback = publish::loopback(family);
        let tcp = Tcp::listen_at(node.netns(), at(loopback))?;
        let udp = meet::udp_socket(node.netns(), at(loopback))?;
        let own = Server { tcp, udp };
        own.must_answer(node.netns(), at(loopback))?;
        server.must_answer(node.netns(), at(node.gateway(family)))?;
        meet::let_go(node.netns(), HOST_PORT, own)?;
        server.must_answer(node.netns(), at(loopback)).context("after it has ended")?;
    }
    Ok(())
}

#[test]
fn one_address_means_just_that_one() -> Result<()> {
    let node = Node::start(Attach::preferred())?;
    for family in Family::BOTH {
        let loopback = publish::loopback(family);
        let mappings = publish::usual(Some(&loopback.to_string()));
        let Published { pod, server } = Published::attach_with(&node, &node.network(), &mappings)?;
        server.must_answer(node.netns(), at(loopback))?;
        let other = Family::BOTH.map(publish::loopback).into_iter().find(|other| *other != loopback);
        let elsewhere = [node.gateway(family), Ipv4Addr::new(127, 0, 0, 2).into()].into_iter().chain(other);
        for address in elsewhere {
            server.must_not_answer(node.netns(), at(address))?;
        }
        pod.del(&node)?;
        publish::must_be_gone(&node)?;
        publish::must_be_refused(node.netns(), at(loopback))?;
    }
    Ok(())
}
