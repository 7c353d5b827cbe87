//! from_netdev

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::maps;

#[classifier]
fn from_netdev(_ctx: TcContext) -> i32 {
    if maps::touch() { 0 } else { TC_ACT_UNSPEC }
}
