//! ARP between Ethernet and IPv4 (RFC 826).

use super::Mac;

/// An ARP message.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Arp {
    /// Hardware type and protocol type.
    pub(crate) types: [u16; 2],
    /// Bytes of a hardware and of a protocol address.
    pub(crate) lengths: u16,
    /// In network byte order.
    pub(crate) operation: u16,
    pub(crate) sender_mac: Mac,
    pub(crate) sender: Ipv4Halves,
    pub(crate) target_mac: Mac,
    pub(crate) target: Ipv4Halves,
}

const _: () = assert!(size_of::<Arp>() == 28);

/// An IPv4 address that lies aligned to two bytes only.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ipv4Halves {
    halves: [u16; 2],
}

impl Ipv4Halves {
    /// The address as a word in memory order.
    #[inline(always)]
    pub(crate) fn word(self) -> u32 {
        let [[a, b], [c, d]] = self.halves.map(u16::to_ne_bytes);
        u32::from_ne_bytes([a, b, c, d])
    }
}

impl Arp {
    pub(crate) const REQUEST: u16 = 1_u16.to_be();
    pub(crate) const REPLY: u16 = 2_u16.to_be();

    /// Whether it speaks of Ethernet and IPv4.
    #[inline(always)]
    pub(crate) fn is_ethernet_ipv4(&self) -> bool {
        let [hardware, protocol] = self.types;
        hardware == 1_u16.to_be() && protocol == 0x0800_u16.to_be() && self.lengths == u16::from_ne_bytes([6, 4])
    }
}
