//! Decisions to bytes.

mod advertisement;
mod arp_reply;
mod towards;

pub(crate) use advertisement::{Advertisement, advertisement};
pub(crate) use arp_reply::arp_reply;
pub(crate) use towards::towards;
