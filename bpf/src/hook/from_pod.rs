//! tc ingress of a pod's host veth: what the pod sends.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weft_abi::{DropEvent, Addr};
use crate::maps;

#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    let key = Addr::from_v4_word(ctx.len());
    if let Some(p) = maps::PODS.get_ptr(key) { if let Some(c) = maps::COUNTERS.get_ptr_mut(0) { unsafe { (*c).packets += u64::from((*p).ifindex); } } }
    if ctx.len() == 0 { let _ = maps::EVENTS.output(DropEvent::default(), 0); }
    -1
}
