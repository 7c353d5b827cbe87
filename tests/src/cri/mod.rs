//! A container runtime on a node: containerd, and the part of Kubernetes' Container Runtime Interface that makes pods.

mod client;
mod containerd;
mod grpc;
mod image;
pub mod message;

pub use client::{Client, Sandbox};
pub use containerd::Containerd;
