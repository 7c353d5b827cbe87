//! Ports of the node that are pods', in the maps of loaded programs.

use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::maps::HashMap;
use weft_abi::{Addr, HostPort, NodeState, SockPeer, Target, Tuple, map};

use super::Programs;
use super::layout::{Layout, Reader, Writer};

impl Layout<24> for HostPort {
    fn put(&self, out: &mut Writer) {
        self.pod.put(out);
        out.half(self.port);
        out.half(self.pad);
        out.word(self.endpoint_id);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { pod: Addr::take(bytes)?, port: bytes.half()?, pad: bytes.half()?, endpoint_id: bytes.word()? })
    }
}

impl Layout<32> for SockPeer {
    fn put(&self, out: &mut Writer) {
        out.all(&self.cookie.to_ne_bytes());
        self.addr.put(out);
        out.half(self.port);
        out.all(&self.pad);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            cookie: bytes.array().map(u64::from_ne_bytes)?,
            addr: Addr::take(bytes)?,
            port: bytes.half()?,
            pad: bytes.array()?,
        })
    }
}

impl Programs {
    /// Makes a port of the node a pod's, and tells the programs that there is one.
    pub fn publish(&mut self, target: &Target, port: &HostPort) -> Result<()> {
        self.put::<_, _, 20, 24>(map::PORTS, target, port)?;
        let node = self.node()?;
        self.set_node(&NodeState { ports: node.ports + 1, ..node })
    }

    /// Takes a port of the node away from a pod.
    pub fn withdraw(&mut self, target: &Target) -> Result<()> {
        let map = self.ebpf.map_mut(map::PORTS).context("no map of ports")?;
        HashMap::<_, [u8; 20], [u8; 24]>::try_from(map)?.remove(&target.bytes()?)?;
        let node = self.node()?;
        self.set_node(&NodeState { ports: node.ports - 1, ..node })
    }

    /// Gives the node an address.
    pub fn add_node_addr(&mut self, addr: IpAddr) -> Result<()> {
        let map = self.ebpf.map_mut(map::NODE_ADDRS).context("no map of the node's addresses")?;
        let mut map = HashMap::<_, [u8; 16], u32>::try_from(map)?;
        map.insert(Addr::from(addr).octets(), 0, 0).with_context(|| format!("give the node {addr}"))
    }

    /// Forgets an entry of `flows`, as the kernel does with an old one.
    pub fn forget_flow(&mut self, tuple: &Tuple) -> Result<()> {
        let map = self.ebpf.map_mut(map::FLOWS).context("no map of flows")?;
        Ok(HashMap::<_, [u8; 40], [u8; 40]>::try_from(map)?.remove(&tuple.bytes()?)?)
    }

    /// Forgets an entry of `nat`, likewise.
    pub fn forget_nat(&mut self, tuple: &Tuple) -> Result<()> {
        let map = self.ebpf.map_mut(map::NAT).context("no map of translations")?;
        Ok(HashMap::<_, [u8; 40], [u8; 32]>::try_from(map)?.remove(&tuple.bytes()?)?)
    }

    /// What sockets of the node asked for.
    pub fn socks(&self) -> Result<Vec<(SockPeer, Target)>> {
        self.all::<_, _, 32, 20>(map::SOCKS)
    }
}
