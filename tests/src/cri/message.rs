//! The messages of `runtime.v1.RuntimeService` that pods' sandboxes need, with the fields that we set or read.
//!
//! Numbers as in `cri-api/pkg/apis/runtime/v1/api.proto` of Kubernetes.

use std::collections::HashMap;

use prost::Message;

/// Asks for the runtime's condition.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusRequest {}

/// Answer to [`StatusRequest`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusResponse {
    /// The conditions.
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
}

/// The runtime's conditions.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RuntimeStatus {
    /// At least `RuntimeReady` and `NetworkReady`.
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<RuntimeCondition>,
}

/// One condition of the runtime.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RuntimeCondition {
    /// Its name.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Whether it holds.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// One word: why not.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// A sentence: why not.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// Asks to make a pod's sandbox.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RunPodSandboxRequest {
    /// The pod.
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodSandboxConfig>,
}

/// A pod as the kubelet describes it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxConfig {
    /// Who it is.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Ports of the node that lead to it.
    #[prost(message, repeated, tag = "5")]
    pub port_mappings: Vec<PortMapping>,
}

impl PodSandboxConfig {
    /// A pod of this name.
    pub fn named(namespace: &str, name: &str) -> Self {
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            namespace: namespace.to_owned(),
        };
        Self { metadata: Some(metadata), port_mappings: Vec::new() }
    }

    /// With a port of the node that leads to one of the pod's.
    #[must_use]
    pub fn host_port(mut self, host_port: i32, container_port: i32) -> Self {
        self.port_mappings.push(PortMapping { container_port, host_port });
        self
    }
}

/// What makes a sandbox unique.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's UID.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// A port of the node that leads to a pod; TCP.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PortMapping {
    /// The pod's port.
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    /// The node's port.
    #[prost(int32, tag = "3")]
    pub host_port: i32,
}

/// Names the sandbox that was made; also the body of requests that stop and remove one.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SandboxId {
    /// The sandbox: `CNI_CONTAINERID` of its attachments.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// An answer that says nothing.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Empty {}

/// Asks how a sandbox is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxStatusRequest {
    /// The sandbox.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// Whether the runtime's own knowledge is wanted, too.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// Answer to [`PodSandboxStatusRequest`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxStatusResponse {
    /// How it is.
    #[prost(message, optional, tag = "1")]
    pub status: Option<PodSandboxStatus>,
    /// The runtime's own knowledge; containerd: JSON under `info`.
    #[prost(map = "string, string", tag = "2")]
    pub info: HashMap<String, String>,
}

/// How a sandbox is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxStatus {
    /// Its addresses.
    #[prost(message, optional, tag = "5")]
    pub network: Option<PodSandboxNetworkStatus>,
}

/// A sandbox's addresses.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxNetworkStatus {
    /// The first one.
    #[prost(string, tag = "1")]
    pub ip: String,
    /// All others.
    #[prost(message, repeated, tag = "2")]
    pub additional_ips: Vec<PodIp>,
}

/// One address.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodIp {
    /// As text.
    #[prost(string, tag = "1")]
    pub ip: String,
}

/// Asks for every sandbox.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListPodSandboxRequest {}

/// Answer to [`ListPodSandboxRequest`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListPodSandboxResponse {
    /// The sandboxes, stopped ones among them.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// A sandbox in a list.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandbox {
    /// Its number.
    #[prost(string, tag = "1")]
    pub id: String,
}
