//! Traffic between namespaces, in this process: each socket is made on a thread inside its namespace.

pub mod datagram;
pub mod ping;
pub mod stream;
