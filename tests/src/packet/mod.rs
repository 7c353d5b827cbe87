//! Frames below the kernel's protocols: crafted, sent and caught.

pub mod craft;
mod socket;

pub use socket::FrameSocket;
