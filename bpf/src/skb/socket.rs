//! Sockets of the node's own.

use weft_abi::Tuple;

use super::Skb;
use crate::sock;

impl Skb {
    /// Whether a socket of the node would receive what the outside of that tuple sends: a connection, or a port that
    /// is listened on.
    #[inline(always)]
    pub(crate) fn is_taken(&self, tuple: &Tuple) -> bool {
        // SAFETY: the context is the kernel's.
        unsafe { sock::is_taken(self.ctx.cast(), tuple) }
    }
}
