//! A packet and what the kernel knows beside its bytes.

/// A packet for a test run.
#[derive(Clone, Debug, Default)]
pub struct Skb {
    bytes: Vec<u8>,
    gso_size: u32,
    ifindex: u32,
    ingress_ifindex: u32,
    mark: u32,
}

/// Bytes of `struct __sk_buff`, and where some of its fields lie (`linux/bpf.h`).
///
/// A test run takes no other `tc_index` than 0: what `from_pod` notes there for the uplink shows on devices alone.
pub(super) const SIZE: usize = 192;
const MARK: usize = 8;
const PRIORITY: usize = 32;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
const TSTAMP: usize = 152;
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

    /// With this mark.
    #[must_use]
    pub fn marked(mut self, mark: u32) -> Self {
        self.mark = mark;
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn context(&self) -> [u8; SIZE] {
        let mut context = [0; SIZE];
        let segments = if self.gso_size == 0 { 0 } else { 2 };
        let fields = [
            (MARK, self.mark),
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

/// What a hook left beside a packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The mark.
    pub mark: u32,
    /// The priority: handle of a class.
    pub priority: u32,
    /// When it may leave, in nanoseconds of the monotonic clock; 0 for at once.
    pub departure_ns: u64,
}

impl Beside {
    pub(super) fn read(context: &[u8; SIZE]) -> Self {
        let word = |at: usize| u32::from_ne_bytes([context[at], context[at + 1], context[at + 2], context[at + 3]]);
        let (low, high) = (u64::from(word(TSTAMP)), u64::from(word(TSTAMP + 4)));
        Self { mark: word(MARK), priority: word(PRIORITY), departure_ns: high << 32 | low }
    }
}
