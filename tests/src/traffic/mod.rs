//! Traffic between namespaces, in this process: each socket is made on a thread inside its namespace.

pub mod datagram;
pub mod errors;
pub mod flood;
pub mod meet;
pub mod ping;
pub mod stream;
pub mod talk;
