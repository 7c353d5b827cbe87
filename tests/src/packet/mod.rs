//! Frames below the kernel's protocols: crafted, sent and caught.

pub mod checksum;
pub mod craft;
pub mod datagram;
pub mod read;
mod socket;

pub use socket::FrameSocket;
