//! Another port in SCTP, whose checksum is a CRC32c over the whole packet (RFC 9260, section 6.8 and appendix A).
//!
//! A CRC is linear: what a change of two bytes makes of it follows from the change and from how many bytes come behind.

use aya_ebpf::bindings::__sk_buff;
use weft_abi::Reason;

use super::End;
use crate::parse::{Ethernet, Ethertype, Ipv6Header, Piece, Transport};
use crate::skb::Skb;

/// The generator without its highest term; here and below the highest bit is the coefficient of 1.
const GENERATOR: u32 = 0x82f6_3b78;

/// The polynomial 1.
const ONE: u32 = 1 << 31;

/// Bits of a length: of an IP packet's.
const LENGTH_BITS: usize = 16;

/// What 2^n zero bytes multiply a remainder by.
static ZEROS: [u32; LENGTH_BITS] = {
    // One zero byte: x^8.
    let mut powers = [1 << 23; LENGTH_BITS];
    let mut n = 1;
    while n < LENGTH_BITS {
        powers[n] = multiply(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
};

/// Gives one end of a packet another port.
#[inline(always)]
pub(super) fn replace_port(skb: &mut Skb, transport: &Transport, end: End, port: u16) -> Result<(), Reason> {
    // How long the packet is of which this is a fragment, nobody knows yet.
    if transport.piece != Piece::Whole {
        return Err(Reason::SctpFragment);
    }
    let at = if end == End::Source { 0 } else { 2 };
    match skb.ask(replace_sctp_port, [transport.offset, at, port.into()]) {
        0 => Ok(()),
        _ => Err(Reason::Malformed),
    }
}

/// Verified once and by itself (a global function to the kernel), because it is called from many states. `offset` is
/// that of the SCTP header, `at` that of the port in it.
#[expect(unsafe_code, reason = "only a function with a name of its own is global")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn replace_sctp_port(ctx: *mut __sk_buff, offset: u32, at: u32, port: u32) -> u32 {
    replace(&mut Skb::of(ctx), offset, at, port as u16).is_none().into()
}

#[inline(always)]
fn replace(skb: &mut Skb, offset: u32, at: u32, port: u16) -> Option<()> {
    // The port's two bytes are still to be divided, and so are those behind them: as many as from `at` on.
    let length = (packet_end(skb)?).checked_sub(offset + at)?;
    let before: u16 = skb.load((offset + at) as usize)?;
    skb.store(offset + at, &port).ok()?;
    let change = advance(u32::from(before ^ port), length);
    let checksum: u32 = skb.load((offset + 8) as usize)?;
    skb.store(offset + 8, &(checksum ^ change)).ok()
}

/// Where the IP packet ends in the frame, which may be longer.
#[inline(always)]
fn packet_end(skb: &Skb) -> Option<u32> {
    let length = if skb.ethertype() == Ethertype::IPV4 {
        u16::from_be(skb.load(Ethernet::LEN + 2)?).into()
    } else {
        u32::from(u16::from_be(skb.load(Ethernet::LEN + 4)?)) + size_of::<Ipv6Header>() as u32
    };
    Some(Ethernet::LEN as u32 + length)
}

/// What a remainder becomes behind that many zero bytes.
///
/// A function of its own to the kernel, with its own stack.
#[inline(never)]
fn advance(mut remainder: u32, bytes: u32) -> u32 {
    for (n, power) in ZEROS.iter().enumerate() {
        // Without a branch, so that the verifier goes one way only; so below.
        let chosen = (bytes >> n & 1).wrapping_neg();
        remainder = multiply(power & chosen | ONE & !chosen, remainder);
    }
    remainder
}

/// The product of two polynomials modulo the generator.
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let (mut product, mut term) = (0, 0);
    while term < u32::BITS {
        product ^= b & (a >> 31).wrapping_neg();
        a <<= 1;
        b = (b >> 1) ^ (GENERATOR & (b & 1).wrapping_neg());
        term += 1;
    }
    product
}

const _: () = {
    // x * 1 = x, and x^31 * x is what the generator leaves.
    assert!(multiply(1 << 30, ONE) == 1 << 30);
    assert!(multiply(1 << 30, 1) == GENERATOR);
};
