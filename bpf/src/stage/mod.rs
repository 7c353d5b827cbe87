//! Decisions, in the order in which they are made; a stage ends the packet's way or lets it go on.

pub(crate) mod arp;
pub(crate) mod deliver;
pub(crate) mod destination;
pub(crate) mod multicast;
pub(crate) mod nameless;
pub(crate) mod neighbor;
pub(crate) mod source;
