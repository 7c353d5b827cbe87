//! A datagram and its answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::error::ConnectivityError;

/// The largest datagram there is.
pub(super) const LARGEST: usize = 65535;

/// A socket that hears that one server alone.
pub(super) fn towards(server: SocketAddr, patience: Duration) -> Result<UdpSocket, ConnectivityError> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let make = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(socket)
    };
    make().map_err(ConnectivityError::io("send datagrams to", server))
}

/// Sends one datagram and awaits one.
pub(super) fn ask<'a>(
    socket: &UdpSocket,
    server: SocketAddr,
    question: &[u8],
    room: &'a mut [u8],
) -> Result<&'a [u8], ConnectivityError> {
    socket.send(question).map_err(ConnectivityError::io("send a datagram to", server))?;
    let length = socket.recv(room).map_err(ConnectivityError::io("get a datagram from", server))?;
    Ok(room.get(..length).unwrap_or_default())
}
