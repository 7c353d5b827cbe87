//! tc egress of a pod's host veth: what the node's stack sends to the pod.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

#[classifier]
fn to_pod(_ctx: TcContext) -> i32 {
    -1
}
