//! The programs, one a file.

mod from_loopback;
mod from_netdev;
mod from_overlay;
mod from_pod;
mod from_shaper;
mod sock;
mod to_netdev;
mod to_overlay;
mod to_pod;
mod to_shaper;
