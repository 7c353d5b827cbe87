//! UDP and raw IP datagrams.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

const PATIENCE: Duration = Duration::from_secs(2);

/// Sends one UDP datagram of this size to a server and gets it back.
pub fn udp_echo(client: &Netns, server: &Netns, address: IpAddr, size: usize) -> Result<()> {
    let serving = udp(server, address)?;
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let asking = udp(client, any)?;
    let target = serving.local_addr().context("ask for a socket's port")?;
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    let mut got = vec![0; size + 1];
    asking.send_to(&sent, target).with_context(|| format!("send to {target}"))?;
    let (len, from) = serving.recv_from(&mut got).with_context(|| format!("receive at {target}"))?;
    ensure!(got[..len] == sent, "{size} bytes were sent and {len} others arrived");
    serving.send_to(&sent, from).with_context(|| format!("answer {from}"))?;
    let (len, from) = asking.recv_from(&mut got).context("receive the answer")?;
    ensure!(got[..len] == sent && from == target, "another answer came from {from}");
    Ok(())
}

/// A UDP socket inside a namespace, with a deadline on what it receives.
pub fn udp(netns: &Netns, address: IpAddr) -> Result<UdpSocket> {
    let socket = netns.enter(|| UdpSocket::bind(SocketAddr::new(address, 0)))?;
    let socket = socket.with_context(|| format!("bind to {address} in {}", netns.name()))?;
    socket.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
    Ok(socket)
}

/// IP protocol number of SCTP.
pub const SCTP: i32 = 132;

/// Sends an IP datagram of this protocol, which the kernel itself need not know, and receives it.
pub fn raw(client: &Netns, server: &Netns, address: IpAddr, protocol: i32, payload: &[u8]) -> Result<()> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let open = || Socket::new(domain, Type::RAW, Some(Protocol::from(protocol))).context("open a raw socket");
    let receiver = server.enter(open)??;
    let sender = client.enter(open)??;
    receiver.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
    sender.send_to(payload, &SocketAddr::new(address, 0).into()).with_context(|| format!("send to {address}"))?;
    let mut packet = [0; 2048];
    let len = (&receiver).read(&mut packet).with_context(|| format!("receive protocol {protocol} at {address}"))?;
    // A raw IPv4 socket is given the header, too.
    let header = if address.is_ipv4() { usize::from(packet[0] & 0xf) * 4 } else { 0 };
    ensure!(packet[header..len] == *payload, "other data arrived: {:02x?}", &packet[header..len]);
    Ok(())
}
