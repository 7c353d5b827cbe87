//! The value of `node`: what the programs ask at every packet, and what they tell of the node as a whole.

use crate::Addr;

/// The one entry of `node`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Packets to tell of.
    pub trace: TraceFilter,
    /// Not 0 while a flow of the node's own is translated; the programs set it, the agent clears it.
    pub host_flows: u32,
    /// Entries of `ports`.
    pub ports: u32,
    /// Device into which packets of limited pods are sent, by interface index; 0 while there is none.
    pub shaper: u32,
    /// Its far end, by interface index.
    pub shaped: u32,
    /// Not 0: that device wants departure times; else a class.
    pub departure: u32,
}

const _: () = assert!(size_of::<NodeState>() == 60 && align_of::<NodeState>() == 4);

/// Which packets leave a record at every hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// 0: none at all.
    pub enabled: u32,
    /// Both must be among source and destination; all zero matches any.
    pub addrs: [Addr; 2],
    /// One of the packet's ports in network byte order; 0 matches any.
    pub port: u16,
    /// IP protocol; 0 matches any.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

const _: () = assert!(size_of::<TraceFilter>() == 40);
