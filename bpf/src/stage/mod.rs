//! Decisions, in the order in which they are made; a stage ends the packet's way or lets it go on.

mod about;
mod age;
pub(crate) mod answer;
pub(crate) mod arp;
pub(crate) mod deliver;
pub(crate) mod destination;
mod fragment;
pub(crate) mod host;
pub(crate) mod inbound;
pub(crate) mod masquerade;
pub(crate) mod multicast;
pub(crate) mod nameless;
pub(crate) mod neighbor;
pub(crate) mod onward;
mod port;
pub(crate) mod published;
pub(crate) mod reverse;
pub(crate) mod shape;
mod size;
pub(crate) mod socket;
pub(crate) mod source;
pub(crate) mod track;
mod transport;
pub(crate) mod tunnelled;
