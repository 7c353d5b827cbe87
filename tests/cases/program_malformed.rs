//! Lengths that lie, headers that end too soon, and what is no IP at all.

use anyhow::{Context, Result};
use weft_abi::Reason;
use weft_tests::packet::craft;
use weft_tests::program::Skb;
use weft_tests::program::scene::{OTHER, SELF, Scene, udp};

#[test]
fn a_packet_that_ends_within_its_headers_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let frame = udp(src, OTHER.like(src))?;
        // The kernel refuses a test run on less; over a wire, `program_wire` goes on.
        let shortest = if src.is_ipv4() { 34 } else { 54 };
        for len in shortest..frame.len() {
            scene.sends(&frame[..len])?.must_be(Reason::Malformed).with_context(|| format!("{len} bytes"))?;
        }
        scene.sends(frame)?.must_be(Reason::Delivered)?;
    }
    Ok(())
}

#[test]
fn another_version_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let frame = udp(src, OTHER.like(src))?;
        for version in (0..16).filter(|version| *version != frame[14] >> 4) {
            let mut lie = frame.clone();
            lie[14] = version << 4 | frame[14] & 0x0f;
            scene.sends(lie)?.must_be(Reason::Malformed).with_context(|| format!("version {version}"))?;
        }
    }
    Ok(())
}

#[test]
fn an_ipv4_header_length_must_fit() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = craft::udp(SELF.link(), SELF.v4.into(), OTHER.v4.into(), 9, &[])?;
    for words in 0..16 {
        let mut lie = frame.clone();
        lie[14] = 0x40 | words;
        // The packet is 28 bytes long: 7 words.
        let reason = if (5..=7).contains(&words) { Reason::Delivered } else { Reason::Malformed };
        scene.sends(lie)?.must_be(reason).with_context(|| format!("{words} words"))?;
    }
    Ok(())
}

#[test]
fn a_length_beyond_the_packet_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    for src in SELF.addresses() {
        let frame = udp(src, OTHER.like(src))?;
        let (at, true_len) = if src.is_ipv4() { (16, frame.len() - 14) } else { (18, frame.len() - 54) };
        let mut with_length = |len: usize, gso: u32| {
            let mut frame = frame.clone();
            frame[at..at + 2].copy_from_slice(&u16::try_from(len)?.to_be_bytes());
            scene.sends(Skb::gso(frame, gso))
        };
        with_length(true_len, 0)?.must_be(Reason::Delivered)?;
        with_length(true_len - 1, 0)?.must_be(Reason::Delivered)?;
        for lie in [true_len + 1, true_len + 14, 0xffff] {
            with_length(lie, 0)?.must_be(Reason::Malformed)?;
            with_length(lie, 1400)?.must_be(Reason::Malformed)?;
        }
    }
    Ok(())
}

#[test]
fn an_ipv4_length_shorter_than_its_header_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    for len in 0..20 {
        let mut frame = udp(SELF.v4.into(), OTHER.v4.into())?;
        frame[16..18].copy_from_slice(&[0, len]);
        scene.sends(frame)?.must_be(Reason::Malformed).with_context(|| format!("{len} bytes"))?;
    }
    Ok(())
}

#[test]
fn a_mapped_address_in_an_ipv6_header_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let (own, other) = (SELF.v4.to_ipv6_mapped(), OTHER.v4.to_ipv6_mapped());
    for (src, dst) in [(own, other), (SELF.v6, other), (own, OTHER.v6)] {
        let frame = udp(src.into(), dst.into())?;
        scene.sends(frame.as_slice())?.must_be(Reason::MappedAddr)?;
        scene.receives(frame)?.must_be(Reason::MappedAddr)?;
    }
    // The neighbours of the range are no part of it.
    for src in ["::fffe:10.244.0.1", "::1:ffff:10.244.0.1", "::ffff:0:10.244.0.1"] {
        scene.sends(udp(src.parse()?, OTHER.v6.into())?)?.must_be(Reason::SourceAddr).context(src)?;
    }
    Ok(())
}

#[test]
fn tags_are_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = udp(SELF.v4.into(), OTHER.v4.into())?;
    for tag in [[0x81, 0, 0, 0], [0x81, 0, 0, 5], [0x88, 0xa8, 0, 5]] {
        let tagged = [&frame[..12], &tag, &frame[12..]].concat();
        scene.sends(tagged.as_slice())?.must_be(Reason::VlanTag)?;
        scene.receives(tagged)?.must_be(Reason::VlanTag)?;
    }
    Ok(())
}

#[test]
fn other_ethertypes_are_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = udp(SELF.v4.into(), OTHER.v4.into())?;
    // 802.3 lengths, RARP, IPX, MPLS, PPPoE, EAPOL, LLDP, and the neighbours of ours.
    let others: [u16; 13] =
        [0, 46, 1500, 0x8035, 0x8137, 0x8847, 0x8864, 0x888e, 0x88cc, 0x0801, 0x0805, 0x86dc, 0xffff];
    for ethertype in others {
        let mut other = frame.clone();
        other[12..14].copy_from_slice(&ethertype.to_be_bytes());
        for outcome in [scene.sends(other.as_slice())?, scene.receives(other.as_slice())?] {
            outcome.must_be(Reason::EtherType).with_context(|| format!("{ethertype:#06x}"))?;
        }
    }
    Ok(())
}
