//! How long a flow of each kind is kept after its last packet.

use std::time::Duration;

/// How long a flow is kept after its last packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP: both ends have spoken. RFC 5382, section 5 asks for 2 h 4 min at least.
    pub tcp_established: Duration,
    /// TCP: the other end has not answered, or the handshake is not through.
    pub tcp_opening: Duration,
    /// TCP: one end has sent its FIN.
    pub tcp_half_closed: Duration,
    /// TCP: both ends have sent their FIN, or one a RST.
    pub tcp_closing: Duration,
    /// UDP: one end has spoken alone.
    pub udp_single: Duration,
    /// UDP: both ends have spoken. RFC 4787, section 4.3 asks for 2 minutes at least.
    pub udp_stream: Duration,
    /// Echo of either ICMP.
    pub icmp: Duration,
    /// All other protocols.
    pub other: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_secs(8000),
            tcp_opening: Duration::from_secs(30),
            tcp_half_closed: Duration::from_secs(120),
            tcp_closing: Duration::from_secs(10),
            udp_single: Duration::from_secs(30),
            udp_stream: Duration::from_secs(180),
            icmp: Duration::from_secs(30),
            other: Duration::from_secs(60),
        }
    }
}
