//! A packet and what the kernel knows beside its bytes.

/// A packet for a test run.
#[derive(Clone, Debug, Default)]
pub struct Skb {
    bytes: Vec<u8>,
    gso_size: u32,
    ifindex: u32,
    ingress_ifindex: u32,
}

/// Bytes of `struct __sk_buff`, and where some of its fields lie (`linux/bpf.h`).
///
/// A test run takes no other `tc_index` than 0: what `from_pod` notes there for the uplink shows on devices alone.
const SIZE: usize = 192;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

impl Skb {
    /// A packet that is to be cut into segments with that much payload.
    pub fn gso(bytes: impl Into<Vec<u8>>, gso_size: u32) -> Self {
        Self { bytes: bytes.into(), gso_size, ..Self::default() }
    }

    /// At the hook of this device, which must be there; without it, at that of `lo`.
    #[must_use]
    pub fn at(mut self, ifindex: u32) -> Self {
        self.ifindex = ifindex;
        self
    }

    /// Forwarded from this device, which need not be there.
    #[must_use]
    pub fn forwarded_from(mut self, ifindex: u32) -> Self {
        self.ingress_ifindex = ifindex;
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn context(&self) -> [u8; SIZE] {
        let mut context = [0; SIZE];
        let segments = if self.gso_size == 0 { 0 } else { 2 };
        let fields = [
            (INGRESS_IFINDEX, self.ingress_ifindex),
            (IFINDEX, self.ifindex),
            (GSO_SEGS, segments),
            (GSO_SIZE, self.gso_size),
        ];
        for (at, value) in fields {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        context
    }
}

impl<T: Into<Vec<u8>>> From<T> for Skb {
    fn from(bytes: T) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }
}
