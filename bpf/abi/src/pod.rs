//! The value of `pods`: where a local pod is and how to reach it.

/// A local pod, found by any of its addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Interface index of the host end of the pod's veth, in the node's namespace.
    pub ifindex: u32,
    /// [`PodFlags`] of this pod.
    pub flags: u32,
    /// The agent's number for the endpoint; unique on the node while the endpoint lives.
    pub endpoint_id: u32,
    /// MAC of the pod's interface: with `host_mac` behind it, an Ethernet header towards the pod.
    pub pod_mac: [u8; 6],
    /// MAC of the host end of the veth.
    pub host_mac: [u8; 6],
}

const _: () = assert!(size_of::<Pod>() == 24 && align_of::<Pod>() == 4);

impl Pod {
    /// Destination and source of an Ethernet header towards the pod, as three words in memory order.
    #[inline(always)]
    pub const fn link_header(&self) -> [u32; 3] {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (self.pod_mac, self.host_mac);
        [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]), u32::from_ne_bytes([i, j, k, l])]
    }

    /// The MAC of the pod's interface, as a word and a half word in memory order.
    #[inline(always)]
    pub const fn mac_words(&self) -> (u32, u16) {
        let [a, b, c, d, e, f] = self.pod_mac;
        (u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]))
    }

    /// The entry under [`Addr::of_link`](crate::Addr::of_link): the same, but no interface may use that key as its
    /// source address.
    #[must_use]
    pub const fn of_link(self) -> Self {
        Self { ifindex: 0, ..self }
    }
}

/// Bits of [`Pod::flags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodFlags;

impl PodFlags {
    /// Another plugin made this interface: its link layer (bridge, ARP, multicast) is that plugin's.
    pub const ADOPTED: u32 = 1 << 0;
    /// `flows` may know flows of this pod that went through the node's stack and have to return through it. The
    /// programs set it, the agent clears it when no such flow is left.
    pub const VIA_STACK: u32 = 1 << 1;
    /// Ports of the node are this pod's: `flows` may know flows that came by them.
    pub const PORTS: u32 = 1 << 2;
    /// `rates` limits what the pod sends.
    pub const LIMIT_EGRESS: u32 = 1 << 3;
    /// `rates` limits what the pod is sent.
    pub const LIMIT_INGRESS: u32 = 1 << 4;
}
