//! The Ethernet header of a packet for a pod.

use weft_abi::Pod;

use crate::skb::Bytes;

/// Makes the frame one from the host end of the pod's veth to the pod.
#[inline(always)]
pub(crate) fn towards<const N: usize>(pod: &Pod, frame: &mut Bytes<'_, N>) {
    let [a, b, c] = pod.link_header();
    frame.set_word::<0>(a);
    frame.set_word::<4>(b);
    frame.set_word::<8>(c);
}
