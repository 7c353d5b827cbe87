//! Keys and values of the maps as bytes, field by field, so that their layout is checked too.

mod rate;

use anyhow::{Context, Result, ensure};
use weft_abi::{
    Addr, Event, Flow, Fragment, Nat, NodeState, Parked, Peer, Pod, Ports, Prefix, Target, TraceFilter, Tuple, Uplink,
};

/// A value that lies in a map in `N` bytes.
pub(super) trait Layout<const N: usize>: Sized {
    /// Its bytes.
    fn put(&self, out: &mut Writer);
    /// The value of these bytes.
    fn take(bytes: &mut Reader<'_>) -> Result<Self>;

    /// Its bytes as a map takes them.
    fn bytes(&self) -> Result<[u8; N]> {
        let mut out = Writer(Vec::with_capacity(N));
        self.put(&mut out);
        let len = out.0.len();
        <[u8; N]>::try_from(out.0).map_err(|_| anyhow::anyhow!("{len} bytes where {N} are due"))
    }

    /// The value that a map gave.
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() == N, "a value of {} bytes where {N} are due", bytes.len());
        let mut reader = Reader(bytes);
        let value = Self::take(&mut reader)?;
        ensure!(reader.0.is_empty(), "{} bytes are left", reader.0.len());
        Ok(value)
    }
}

pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn word(&mut self, value: u32) {
        self.0.extend(value.to_ne_bytes());
    }

    pub(super) fn half(&mut self, value: u16) {
        self.0.extend(value.to_ne_bytes());
    }

    pub(super) fn all(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().context("a value is cut short")?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn word(&mut self) -> Result<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn half(&mut self) -> Result<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn addr(&mut self) -> Result<Addr> {
        self.array().map(Addr::from_octets)
    }
}

impl Layout<16> for Addr {
    fn put(&self, out: &mut Writer) {
        out.all(&self.octets());
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        bytes.addr()
    }
}

impl Layout<24> for Pod {
    fn put(&self, out: &mut Writer) {
        out.word(self.ifindex);
        out.word(self.flags);
        out.word(self.endpoint_id);
        out.all(&self.pod_mac);
        out.all(&self.host_mac);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            ifindex: bytes.word()?,
            flags: bytes.word()?,
            endpoint_id: bytes.word()?,
            pod_mac: bytes.array()?,
            host_mac: bytes.array()?,
        })
    }
}

impl Layout<32> for Peer {
    fn put(&self, out: &mut Writer) {
        self.node.put(out);
        for word in [self.device, self.vni, self.flags, self.mtu] {
            out.word(word);
        }
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            node: bytes.addr()?,
            device: bytes.word()?,
            vni: bytes.word()?,
            flags: bytes.word()?,
            mtu: bytes.word()?,
        })
    }
}

impl Layout<20> for Prefix {
    fn put(&self, out: &mut Writer) {
        out.word(self.bits);
        self.addr.put(out);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { bits: bytes.word()?, addr: bytes.addr()? })
    }
}

impl Layout<32> for Uplink {
    fn put(&self, out: &mut Writer) {
        self.v4.put(out);
        self.v6.put(out);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { v4: bytes.addr()?, v6: bytes.addr()? })
    }
}

impl Layout<40> for Tuple {
    fn put(&self, out: &mut Writer) {
        self.inside.put(out);
        self.outside.put(out);
        out.half(self.inside_port);
        out.half(self.outside_port);
        out.all(&[self.protocol]);
        out.all(&self.pad);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            inside: bytes.addr()?,
            outside: bytes.addr()?,
            inside_port: bytes.half()?,
            outside_port: bytes.half()?,
            protocol: bytes.byte()?,
            pad: bytes.array()?,
        })
    }
}

impl Layout<40> for Flow {
    fn put(&self, out: &mut Writer) {
        for word in [self.seen, self.created, self.flags, self.ifindex] {
            out.word(word);
        }
        self.nat_addr.put(out);
        out.half(self.nat_port);
        out.half(self.pad);
        out.word(self.epoch);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            seen: bytes.word()?,
            created: bytes.word()?,
            flags: bytes.word()?,
            ifindex: bytes.word()?,
            nat_addr: bytes.addr()?,
            nat_port: bytes.half()?,
            pad: bytes.half()?,
            epoch: bytes.word()?,
        })
    }
}

impl Layout<32> for Nat {
    fn put(&self, out: &mut Writer) {
        out.word(self.seen);
        out.word(self.flags);
        self.inside.put(out);
        out.half(self.inside_port);
        out.half(self.pad);
        out.word(self.endpoint_id);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            seen: bytes.word()?,
            flags: bytes.word()?,
            inside: bytes.addr()?,
            inside_port: bytes.half()?,
            pad: bytes.half()?,
            endpoint_id: bytes.word()?,
        })
    }
}

impl Layout<20> for Target {
    fn put(&self, out: &mut Writer) {
        self.addr.put(out);
        out.half(self.port);
        out.all(&[self.protocol, self.pad]);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { addr: bytes.addr()?, port: bytes.half()?, protocol: bytes.byte()?, pad: bytes.byte()? })
    }
}

impl Layout<40> for Fragment {
    fn put(&self, out: &mut Writer) {
        self.src.put(out);
        self.dst.put(out);
        out.word(self.id);
        out.all(&[self.protocol]);
        out.all(&self.pad);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            src: bytes.addr()?,
            dst: bytes.addr()?,
            id: bytes.word()?,
            protocol: bytes.byte()?,
            pad: bytes.array()?,
        })
    }
}

impl Layout<2104> for Parked {
    fn put(&self, out: &mut Writer) {
        self.key.put(out);
        out.all(&self.ktime_ns.to_ne_bytes());
        out.word(self.ifindex);
        out.word(self.len);
        out.all(&self.frame);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            key: Fragment::take(bytes)?,
            ktime_ns: bytes.array().map(u64::from_ne_bytes)?,
            ifindex: bytes.word()?,
            len: bytes.word()?,
            frame: bytes.array()?,
        })
    }
}

impl Layout<4> for Ports {
    fn put(&self, out: &mut Writer) {
        out.half(self.src);
        out.half(self.dst);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { src: bytes.half()?, dst: bytes.half()? })
    }
}

impl Layout<60> for NodeState {
    fn put(&self, out: &mut Writer) {
        let TraceFilter { enabled, addrs, port, protocol, pad } = self.trace;
        out.word(enabled);
        for addr in addrs {
            addr.put(out);
        }
        out.half(port);
        out.all(&[protocol, pad]);
        out.word(self.host_flows);
        out.word(self.ports);
        out.word(self.shaper);
        out.word(self.shaped);
        out.word(self.departure);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        let trace = TraceFilter {
            enabled: bytes.word()?,
            addrs: [bytes.addr()?, bytes.addr()?],
            port: bytes.half()?,
            protocol: bytes.byte()?,
            pad: bytes.byte()?,
        };
        let host_flows = bytes.word()?;
        let [ports, entrance, exit] = [bytes.word()?, bytes.word()?, bytes.word()?];
        Ok(Self { trace, host_flows, ports, shaper: entrance, shaped: exit, departure: bytes.word()? })
    }
}

impl Layout<80> for Event {
    fn put(&self, _out: &mut Writer) {
        unreachable!("records are only read");
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            ktime_ns: bytes.array().map(u64::from_ne_bytes)?,
            reason: bytes.word()?,
            direction: bytes.word()?,
            ifindex: bytes.word()?,
            len: bytes.word()?,
            src: bytes.addr()?,
            dst: bytes.addr()?,
            ethertype: bytes.half()?,
            protocol: bytes.byte()?,
            kind: bytes.byte()?,
            src_mac: bytes.array()?,
            dst_mac: bytes.array()?,
            src_port: bytes.half()?,
            dst_port: bytes.half()?,
            hook: bytes.byte()?,
            pad: bytes.array()?,
        })
    }
}
