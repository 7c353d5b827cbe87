//! The two places on a pod's host end where a program runs.

use aya::programs::TcAttachType;
use weft_abi::Hook as Place;

/// A program and the side of the device that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// tc ingress: what the pod sends.
    FromPod,
    /// tc egress: what the node's stack sends to the pod.
    ToPod,
}

impl Hook {
    pub(super) const ALL: [Self; 2] = [Self::FromPod, Self::ToPod];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FromPod => Place::FromPod.name(),
            Self::ToPod => Place::ToPod.name(),
        }
    }

    pub(super) const fn attach_type(self) -> TcAttachType {
        match self {
            Self::FromPod => TcAttachType::Ingress,
            Self::ToPod => TcAttachType::Egress,
        }
    }
}

/// A device that programs are attached to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) index: u32,
}
