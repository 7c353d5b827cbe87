//! Pods with ports of the node, and what it takes to see that those are served.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use weft_abi::{Addr, map};

use crate::netns::Netns;
use crate::node::{Family, Node};
use crate::pod::Pod;
use crate::runtime::Network;
use crate::traffic::meet::{self, Tcp};
use crate::traffic::stream;
use crate::{exec, wait};

/// Where servers in pods listen.
pub const CONTAINER_PORT: u16 = 8080;
/// The port of the node that leads there.
pub const HOST_PORT: u16 = 30_080;

/// An entry of `portMappings`.
pub fn mapping(host_port: u16, container_port: u16, protocol: &str) -> Value {
    json!({ "hostPort": host_port, "containerPort": container_port, "protocol": protocol })
}

/// [`HOST_PORT`] for TCP and UDP, at this address of the node or at every one.
pub fn usual(host_ip: Option<&str>) -> Vec<Value> {
    let both = ["tcp", "udp"].map(|protocol| mapping(HOST_PORT, CONTAINER_PORT, protocol));
    both.into_iter()
        .map(|mut entry| {
            if let Some(host_ip) = host_ip {
                entry["hostIP"] = host_ip.into();
            }
            entry
        })
        .collect()
}

/// A network whose runtime asks for these mappings.
pub fn asking(network: &Network, mappings: &[Value]) -> Network {
    network.clone().offering(json!({ "portMappings": mappings }))
}

/// A pod that has ports of the node and serves them.
#[derive(Debug)]
pub struct Published {
    /// The pod.
    pub pod: Pod,
    /// What answers in it at [`CONTAINER_PORT`].
    pub server: Server,
}

impl Published {
    /// A fresh pod with [`usual`] mappings.
    pub fn attach(node: &Node) -> Result<Self> {
        Self::attach_with(node, &node.network(), &usual(None))
    }

    /// A fresh pod of this network with these mappings.
    pub fn attach_with(node: &Node, network: &Network, mappings: &[Value]) -> Result<Self> {
        let pod = Pod::attach(node, &asking(network, mappings))?;
        let server = Server::listen(pod.netns(), CONTAINER_PORT)?;
        Ok(Self { pod, server })
    }
}

/// Answers by TCP and UDP, both families.
#[derive(Debug)]
pub struct Server {
    /// Its TCP end.
    pub tcp: Tcp,
    /// Its UDP end.
    pub udp: UdpSocket,
}

/// How long nothing has to come until nothing will.
const SILENCE: Duration = Duration::from_millis(100);

impl Server {
    /// Listens at a port of every address in a namespace.
    pub fn listen(netns: &Netns, port: u16) -> Result<Self> {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        Ok(Self { tcp: Tcp::listen_at(netns, any)?, udp: meet::udp_socket(netns, any)? })
    }

    /// Has a client talk with it by this target, over TCP, and over UDP from a socket that is connected and from one
    /// that is not; as whom it saw the client. Answers come from whom the client asked.
    pub fn must_answer(&self, client: &Netns, target: SocketAddr) -> Result<IpAddr> {
        self.answer(client, target).with_context(|| format!("{} asked {target}", client.name()))
    }

    fn answer(&self, client: &Netns, target: SocketAddr) -> Result<IpAddr> {
        let by_tcp = self.tcp.meet(client, target).context("TCP")?;
        ensure!(by_tcp.peer == target, "TCP: the client sees {}", by_tcp.peer);
        let by_udp = meet::udp(client, &self.udp, target, 1000).context("UDP")?;
        ensure!(by_udp.peer == target, "UDP: the client sees {}", by_udp.peer);
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let loose = meet::udp_socket(client, (any, 0).into())?;
        let (seen, from) = self.exchange(&loose, target).context("UDP, not connected")?;
        ensure!(from == target, "UDP, not connected: the answer came from {from}");
        let all = [by_tcp.seen.ip(), by_udp.seen.ip(), seen.ip()];
        ensure!(all.iter().all(|one| *one == all[0]), "seen as {all:?}");
        Ok(all[0])
    }

    /// A datagram from a socket that is not connected, and its answer: the client as it was seen, and who answered.
    pub fn exchange(&self, client: &UdpSocket, target: SocketAddr) -> Result<(SocketAddr, SocketAddr)> {
        let mut got = [0; 64];
        client.send_to(b"who?", target).with_context(|| format!("send to {target}"))?;
        let (len, seen) = self.udp.recv_from(&mut got).with_context(|| format!("{target} received nothing"))?;
        ensure!(got[..len] == *b"who?", "other data arrived");
        self.udp.send_to(b"you!", seen).with_context(|| format!("answer {seen}"))?;
        let (len, from) = client.recv_from(&mut got).with_context(|| format!("no answer from {target}"))?;
        ensure!(got[..len] == *b"you!", "another answer came");
        Ok((SocketAddr::new(seen.ip().to_canonical(), seen.port()), from))
    }

    /// Carries a stream of so many bytes there and back, and large datagrams.
    pub fn must_carry(&self, client: &Netns, target: SocketAddr, bytes: usize) -> Result<()> {
        let (near, far, _) = self.tcp.pair(client, None, target)?;
        stream::both_ways_on(&near, &far, bytes).with_context(|| format!("a stream to {target}"))?;
        meet::udp(client, &self.udp, target, 4000).with_context(|| format!("datagrams in fragments to {target}"))?;
        Ok(())
    }

    /// Fails if a client that asks this target arrives here.
    pub fn must_not_answer(&self, client: &Netns, target: SocketAddr) -> Result<()> {
        let asked = || format!("{} asked {target}", client.name());
        if client.enter(|| stream::connect(target))?.is_ok() {
            bail!("{}: a TCP connection was made", asked());
        }
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = meet::udp_socket(client, (any, 0).into())?;
        // There may be no way at all.
        let _ = socket.send_to(b"who?", target);
        self.must_hear_nothing().with_context(asked)
    }

    /// Fails if a datagram arrives.
    pub fn must_hear_nothing(&self) -> Result<()> {
        let patience = self.udp.read_timeout().context("ask for a deadline")?;
        self.udp.set_read_timeout(Some(SILENCE)).context("set a deadline")?;
        let heard = self.udp.recv_from(&mut [0; 64]);
        self.udp.set_read_timeout(patience).context("set a deadline")?;
        match heard {
            Ok((_, from)) => bail!("a datagram came from {from}"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error).context("listen"),
        }
    }
}

/// Fails unless the other side refuses at once: a reset for TCP, an ICMP error for UDP, both from whom was asked.
pub fn must_be_refused(client: &Netns, target: SocketAddr) -> Result<()> {
    client.enter(|| -> Result<()> {
        let answer = TcpStream::connect_timeout(&target, Duration::from_secs(2)).map(drop);
        let kind = answer.map_err(|error| error.kind());
        ensure!(kind == Err(ErrorKind::ConnectionRefused), "TCP to {target}: {kind:?}");
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).context("open a socket")?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).context("set a deadline")?;
        socket.connect(target).context("choose a target")?;
        socket.send(b"who?").context("send")?;
        let kind = socket.recv(&mut [0; 8]).map_err(|error| error.kind());
        ensure!(kind == Err(ErrorKind::ConnectionRefused), "UDP to {target}: {kind:?}");
        Ok(())
    })?
}

/// Fails unless a connection ends by an error, as one whose other end is gone does.
pub fn must_be_cut(mut near: &TcpStream) -> Result<Duration> {
    near.set_read_timeout(Some(Duration::from_millis(50))).context("set a deadline")?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let answer = near.write_all(b"?").and_then(|()| near.read(&mut [0]));
        match answer.map_err(|error| error.kind()) {
            Err(ErrorKind::WouldBlock) => {}
            Err(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe) => {
                return Ok(started.elapsed());
            }
            other => bail!("neither cut nor silent: {other:?}"),
        }
    }
    bail!("the connection still stands, silent")
}

/// The loopback address of a family.
pub fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Entries of the map `ports` of a node.
pub fn entries(node: &Node) -> Result<usize> {
    let dump = node.weft_json(&["map", "dump", map::PORTS])?;
    dump.as_array().map(Vec::len).with_context(|| format!("no list of entries: {dump}"))
}

/// Host ports as `weft port list` tells them, in its order.
pub fn listed(node: &Node) -> Result<Vec<(u64, String)>> {
    let list = node.weft_json(&["port", "list"])?;
    let entry = |one: &Value| Some((one["hostPort"].as_u64()?, one["protocol"].as_str()?.to_owned()));
    let ports = list.as_array().context("no list of ports")?.iter().map(entry).collect::<Option<_>>();
    ports.with_context(|| format!("an entry without port or protocol: {list}"))
}

/// Waits until no entry is left: what is no request's business is done beside it.
pub fn must_be_gone(node: &Node) -> Result<()> {
    wait::until("no mapping is left", Duration::from_secs(2), || Ok(entries(node)? == 0 && listed(node)?.is_empty()))?;
    Ok(())
}

/// Takes an entry out of the map behind the agent's back.
pub fn forget(node: &Node, host: IpAddr, port: u16, protocol: u8) -> Result<()> {
    let pinned = node.pins().join(map::PORTS);
    let key = [Addr::from(host).octets().as_slice(), &port.to_be_bytes(), &[protocol, 0]].concat();
    let hex: Vec<String> = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let pinned = pinned.to_string_lossy();
    let words = ["map", "delete", "pinned", &pinned, "key", "hex"].into_iter().chain(hex.iter().map(String::as_str));
    exec::tool("bpftool", &words.collect::<Vec<_>>()).map(drop)
}
