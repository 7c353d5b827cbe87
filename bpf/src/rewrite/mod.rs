//! Decisions to bytes.

mod address;
mod advertisement;
mod arp_reply;
mod hops;
mod quotation;
mod sum;
mod towards;

pub(crate) use address::{End, translate};
pub(crate) use advertisement::{Advertisement, advertisement};
pub(crate) use arp_reply::arp_reply;
pub(crate) use hops::count_down;
pub(crate) use quotation::translate as translate_quoted;
pub(crate) use towards::towards;
