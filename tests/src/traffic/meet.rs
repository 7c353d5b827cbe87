//! A client and a server that tell each other's addresses: who was seen, and who answered.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};

use super::stream;
use crate::netns::Netns;
use crate::{exec, wait};

const PATIENCE: Duration = Duration::from_secs(2);

/// One conversation, as both ends saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The client's own address.
    pub client: SocketAddr,
    /// The client as the server saw it.
    pub seen: SocketAddr,
    /// The server as the client sees it.
    pub peer: SocketAddr,
}

/// The server end of conversations.
#[derive(Debug)]
pub struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
}

impl Tcp {
    /// Listens at any port.
    pub fn listen(netns: &Netns, address: IpAddr) -> Result<Self> {
        Self::listen_at(netns, SocketAddr::new(address, 0))
    }

    /// Listens at a port.
    pub fn listen_at(netns: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = bind(netns, address, TcpListener::bind)?;
        let address = listener.local_addr().context("ask for a listener's port")?;
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets a client in a namespace talk with the server by this target, which need not be the server's address.
    pub fn meet(&self, client: &Netns, target: SocketAddr) -> Result<Met> {
        self.pair(client, None, target).map(|(_, _, met)| met)
    }

    /// The same, and both ends of the connection.
    pub fn pair(
        &self,
        client: &Netns,
        from_port: Option<u16>,
        target: SocketAddr,
    ) -> Result<(TcpStream, TcpStream, Met)> {
        let mut near = client.enter(|| connect_from(from_port, target))??;
        let (mut far, seen) = self.accept()?;
        near.write_all(b"?").context("ask")?;
        let mut byte = [0];
        far.read_exact(&mut byte).context("be asked")?;
        far.write_all(b"!").context("answer")?;
        near.read_exact(&mut byte).context("be answered")?;
        let client = near.local_addr().context("ask for the client's address")?;
        let met = Met { client, seen, peer: near.peer_addr().context("ask whom it talks to")? };
        Ok((near, far, met))
    }

    /// Whether a client waits, who is then let go.
    pub fn has_met(&self) -> Result<bool> {
        let listener = SockRef::from(&self.listener);
        listener.set_read_timeout(Some(Duration::from_millis(20))).context("set a deadline")?;
        let met = self.listener.accept();
        listener.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
        match met {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("accept"),
        }
    }

    fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        let (far, seen) = self.listener.accept().context("nobody came")?;
        stream::set_deadline(&far)?;
        Ok((far, unmapped(seen)))
    }
}

/// Connects from a port of the caller's choice.
pub fn connect_from(port: Option<u16>, target: SocketAddr) -> Result<TcpStream> {
    let Some(port) = port else { return stream::connect(target) };
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).context("open a socket")?;
    socket.set_reuse_address(true).context("share a port")?;
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    socket.bind(&SocketAddr::new(any, port).into()).with_context(|| format!("bind to port {port}"))?;
    socket.connect_timeout(&target.into(), PATIENCE).with_context(|| format!("connect to {target}"))?;
    let stream = TcpStream::from(socket);
    stream::set_deadline(&stream)?;
    Ok(stream)
}

/// One UDP datagram of this size to a server and one back, through whatever is between.
pub fn udp(client: &Netns, server: &UdpSocket, target: SocketAddr, size: usize) -> Result<Met> {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    udp_from(&udp_socket(client, SocketAddr::new(any, 0))?, server, target, size)
}

/// The same from a socket of the caller's.
pub fn udp_from(asking: &UdpSocket, server: &UdpSocket, target: SocketAddr, size: usize) -> Result<Met> {
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    let mut got = vec![0; size + 1];
    asking.connect(target).with_context(|| format!("choose {target}"))?;
    asking.send(&sent).with_context(|| format!("send to {target}"))?;
    let (len, seen) = server.recv_from(&mut got).with_context(|| format!("{target} received nothing"))?;
    ensure!(got[..len] == sent, "{size} bytes were sent and {len} others arrived");
    server.send_to(&sent, seen).with_context(|| format!("answer {seen}"))?;
    let len = asking.recv(&mut got).with_context(|| format!("no answer from {target}"))?;
    ensure!(got[..len] == sent, "{len} other bytes came back");
    let client = asking.local_addr().context("ask for the client's address")?;
    Ok(Met { client, seen: unmapped(seen), peer: asking.peer_addr().context("ask whom it talks to")? })
}

/// A UDP socket at this address, with a deadline on what it receives.
pub fn udp_socket(netns: &Netns, address: SocketAddr) -> Result<UdpSocket> {
    let socket = bind(netns, address, UdpSocket::bind)?;
    socket.set_read_timeout(Some(PATIENCE)).context("set a deadline")?;
    Ok(socket)
}

/// Closes sockets and waits until nobody listens on their port in the namespace any more: children of other threads
/// hold copies of them until they come to their programs.
pub fn let_go<T>(netns: &Netns, port: u16, sockets: T) -> Result<()> {
    drop(sockets);
    let only = format!("sport = :{port}");
    let free = || Ok(exec::tool_in(netns, "ss", &["-Hlntu", &only])?.is_empty());
    wait::until(&format!("port {port} is free"), PATIENCE, free).map(drop)
}

/// Binds in a namespace.
fn bind<T: Send>(netns: &Netns, address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T> + Sync) -> Result<T> {
    let bound = netns.enter(|| once_free(|| bind(address)))?;
    bound.with_context(|| format!("bind to {address} in {}", netns.name()))
}

/// Binds to a port that may have been let go just now, and may still be held, see [`let_go`].
pub(crate) fn once_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && started.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(10));
            }
            bound => return bound,
        }
    }
}

/// An address without the form that a dual-stack socket gives it.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
