//! The Ethernet header.

use weft_abi::Reason;

/// Ethertypes in host byte order.
pub(crate) struct Ethertype;

impl Ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const IPV6: u16 = 0x86dd;
    /// 802.1Q.
    pub(crate) const VLAN: u16 = 0x8100;
    /// 802.1ad.
    pub(crate) const SERVICE_VLAN: u16 = 0x88a8;

    /// Why a frame of a type that no hook knows is dropped.
    #[inline(always)]
    pub(crate) fn strange(ethertype: u16) -> Reason {
        match ethertype {
            Self::VLAN | Self::SERVICE_VLAN => Reason::VlanTag,
            _ => Reason::EtherType,
        }
    }
}

/// A MAC address, its half words as they lie in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Mac {
    halves: [u16; 3],
}

impl PartialEq for Mac {
    // Without the loop that comparing slices comes to.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b, c], [d, e, f]) = (self.halves, other.halves);
        (a ^ d) | (b ^ e) | (c ^ f) == 0
    }
}

impl From<[u8; 6]> for Mac {
    #[inline(always)]
    fn from([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self { halves: [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])] }
    }
}

impl From<Mac> for [u8; 6] {
    #[inline(always)]
    fn from(mac: Mac) -> Self {
        let [[a, b], [c, d], [e, f]] = mac.halves.map(u16::to_ne_bytes);
        [a, b, c, d, e, f]
    }
}

/// The Ethernet header, without tags.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ethernet {
    pub(crate) dst: Mac,
    pub(crate) src: Mac,
    /// In network byte order.
    pub(crate) ethertype: u16,
}

/// A copy of a frame's begin.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Frame<H> {
    /// Two bytes that are no part of the frame: what follows the Ethernet header is aligned by them.
    lead: u16,
    pub(crate) ethernet: Ethernet,
    pub(crate) body: H,
}

impl Ethernet {
    /// Bytes of the header.
    pub(crate) const LEN: usize = size_of::<Self>();
}

const _: () = assert!(Ethernet::LEN == 14 && align_of::<Ethernet>() == 2);

impl<H> Frame<H> {
    pub(crate) fn new(ethernet: Ethernet, body: H) -> Self {
        Self { lead: 0, ethernet, body }
    }
}
