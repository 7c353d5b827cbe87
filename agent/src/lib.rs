//! weft's agent: the one process of a node that talks bpf(2), and the operator's command line.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test stops at the first surprise"))]

pub mod datapath;
pub mod endpoint;
pub mod node;
