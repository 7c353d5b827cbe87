//! Network namespaces as nodes and pods, a runtime that executes the real plugin, packets and traffic.
//!
//! Everything here fails with a sentence when a privilege or a tool is missing; nothing is skipped.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "a test stops at the first surprise"))]
#![expect(clippy::missing_errors_doc, reason = "each error is a context line that a failed test prints")]

pub mod api;
pub mod apiserver;
pub mod bench;
pub mod cgroup;
pub mod cluster;
pub mod cri;
pub mod daemon;
pub mod demo;
pub mod drops;
pub mod e2e;
pub mod exec;
pub mod fabric;
pub mod kernel;
pub mod leftover;
pub mod manifest;
pub mod need;
pub mod netns;
pub mod node;
pub mod packet;
pub mod pod;
pub mod program;
pub mod proxy;
pub mod publish;
pub mod runtime;
pub mod site;
pub mod storm;
pub mod traffic;
pub mod wait;
