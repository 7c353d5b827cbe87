//! Neighbour discovery from a pod.

use std::net::Ipv6Addr;

use anyhow::{Context, Result, ensure};
use etherparse::{Icmpv6Slice, PacketBuilder};
use weft_abi::{GATEWAY_V6, Reason};
use weft_cni::mac::Mac;
use weft_tests::packet::craft::Link;
use weft_tests::program::Action;
use weft_tests::program::scene::{AWAY, FOREIGN, OTHER, SELF, Scene};

const GATEWAY: Ipv6Addr = Ipv6Addr::from_bits(u128::from_be_bytes(GATEWAY_V6));
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Link-layer address options.
const SOURCE: u8 = 1;
const TARGET: u8 = 2;

/// A neighbour message; what a test does not care about is as an honest pod writes it.
#[derive(Clone, Copy)]
struct Message<'a> {
    link: Link,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    hop_limit: u8,
    kind: u8,
    code: u8,
    flags: u8,
    target: Ipv6Addr,
    options: &'a [u8],
}

impl Message<'_> {
    fn frame(&self) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        let body = [&self.target.octets()[..], self.options].concat();
        PacketBuilder::ethernet2(self.link.src.0, self.link.dst.0)
            .ipv6(self.src.octets(), self.dst.octets(), self.hop_limit)
            .icmpv6_raw(self.kind, self.code, [self.flags, 0, 0, 0])
            .write(&mut frame, &body)?;
        Ok(frame)
    }
}

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

/// The group in which an address is asked for (RFC 4291, section 2.7.1), and its MAC.
fn solicited_node(target: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    (group, Mac([0x33, 0x33, 0xff, a, b, c]))
}

fn solicitation(src: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Message<'_> {
    let (dst, mac) = solicited_node(target);
    let link = Link { dst: mac, ..SELF.link() };
    Message { link, src, dst, hop_limit: 255, kind: SOLICITATION, code: 0, flags: 0, target, options }
}

fn advertisement(src: Ipv6Addr, target: Ipv6Addr, options: &[u8]) -> Message<'_> {
    Message { kind: ADVERTISEMENT, flags: 0x60, dst: AWAY.v6, link: SELF.link(), ..solicitation(src, target, options) }
}

#[test]
fn a_question_for_the_gateway_is_answered() -> Result<()> {
    let mut scene = Scene::set()?;
    let own = option(SOURCE, SELF.link().src);
    // A nonce as Linux adds one (RFC 3971, section 5.3.2).
    let nonce = [&own[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
    let host = option(TARGET, SELF.link_back().src);
    let answer = Message {
        link: SELF.link_back(),
        src: GATEWAY,
        dst: SELF.v6,
        // Router, solicited, override.
        flags: 0xe0,
        ..advertisement(GATEWAY, GATEWAY, &host)
    };
    let answer = answer.frame()?;
    let message = Icmpv6Slice::from_slice(&answer[54..])?;
    assert!(message.is_checksum_valid(GATEWAY.octets(), SELF.v6.octets()));
    for options in [&[][..], &own, &nonce] {
        for link in [solicitation(SELF.v6, GATEWAY, &[]).link, SELF.link()] {
            let question = Message { link, ..solicitation(SELF.v6, GATEWAY, options) };
            let outcome = scene.sends(question.frame()?)?;
            outcome.must_be(Reason::Answered)?;
            assert_eq!(outcome.action, Action::Redirect);
            assert_eq!(outcome.bytes, answer);
        }
    }
    // It leaves by the same device, past the other hook.
    scene.receives(answer.as_slice())?.must_pass(&answer)
}

#[test]
fn the_checksum_of_an_answer_is_right_for_any_address() -> Result<()> {
    let mut scene = Scene::set()?;
    let mut checksum = |low: u16| {
        // As much to add up as can be.
        let asker = Ipv6Addr::new(0xfdff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, low);
        scene.programs.add(asker.into(), SELF.pod)?;
        let outcome = scene.sends(solicitation(asker, GATEWAY, &[]).frame()?)?;
        outcome.must_be(Reason::Answered)?;
        let message = Icmpv6Slice::from_slice(&outcome.bytes[54..])?;
        ensure!(message.is_checksum_valid(GATEWAY.octets(), asker.octets()), "to {asker}: {:02x?}", outcome.bytes);
        Ok(message.checksum())
    };
    // Around here the sum comes past all ones, where its carry carries again; it may be made in either byte order.
    let short_of_ones = checksum(0)?;
    for step in 0..64_u16 {
        checksum(short_of_ones.wrapping_add(step).wrapping_sub(32))?;
        checksum(short_of_ones.swap_bytes().wrapping_add(step).wrapping_sub(32).swap_bytes())?;
    }
    Ok(())
}

#[test]
fn the_truth_about_itself_goes_to_the_stack() -> Result<()> {
    let mut scene = Scene::set()?;
    let (source, target) = (option(SOURCE, SELF.link().src), option(TARGET, SELF.link().src));
    let local = SELF.link_local();
    let truths = [
        ("question", solicitation(SELF.v6, AWAY.v6, &source)),
        ("question for another pod", solicitation(SELF.v6, OTHER.v6, &source)),
        ("question from its link-local address", solicitation(local, AWAY.v6, &source)),
        ("probe of its address", solicitation(Ipv6Addr::UNSPECIFIED, SELF.v6, &[])),
        ("probe of its link-local address", solicitation(Ipv6Addr::UNSPECIFIED, local, &[])),
        ("reply", advertisement(SELF.v6, SELF.v6, &target)),
        ("reply without its MAC", advertisement(SELF.v6, SELF.v6, &[])),
        ("reply from its link-local address", advertisement(local, SELF.v6, &target)),
        ("reply about its link-local address", advertisement(SELF.v6, local, &target)),
    ];
    for (truth, message) in truths {
        let frame = message.frame()?;
        scene.sends(frame.as_slice())?.must_pass(&frame).context(truth)?;
    }
    Ok(())
}

#[test]
fn a_lie_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let (source, target) = (option(SOURCE, SELF.link().src), option(TARGET, SELF.link().src));
    let (false_source, false_target) = (option(SOURCE, FOREIGN), option(TARGET, FOREIGN));
    let behind = [&[14, 1, 0, 0, 0, 0, 0, 0][..], &false_source].concat();
    let question = solicitation(SELF.v6, GATEWAY, &source);
    let reply = advertisement(SELF.v6, SELF.v6, &target);
    let foreign = Link { src: FOREIGN, ..question.link };
    let local = SELF.link_local();
    let lies = [
        ("question by another", Message { src: OTHER.v6, ..question }),
        ("question by nobody", Message { src: AWAY.v6, ..question }),
        ("question by the gateway", solicitation(GATEWAY, AWAY.v6, &source)),
        ("question with another MAC", Message { link: foreign, ..question }),
        ("question with another MAC and none inside", Message { link: foreign, options: &[], ..question }),
        ("question with another MAC inside", Message { options: &false_source, ..question }),
        ("question with another MAC further in", Message { options: &behind, ..question }),
        ("question from afar", Message { hop_limit: 254, ..question }),
        ("question with a code", Message { code: 1, ..question }),
        ("link-local question with another MAC inside", solicitation(local, AWAY.v6, &false_source)),
        ("probe of another's address", solicitation(Ipv6Addr::UNSPECIFIED, OTHER.v6, &[])),
        ("probe of the gateway's address", solicitation(Ipv6Addr::UNSPECIFIED, GATEWAY, &[])),
        ("reply for another", advertisement(SELF.v6, OTHER.v6, &target)),
        ("reply for nobody", advertisement(SELF.v6, AWAY.v6, &target)),
        ("reply for the gateway", advertisement(SELF.v6, GATEWAY, &target)),
        ("reply by the gateway", advertisement(GATEWAY, GATEWAY, &target)),
        ("reply by another", advertisement(OTHER.v6, SELF.v6, &target)),
        ("reply by an unspecified address", advertisement(Ipv6Addr::UNSPECIFIED, SELF.v6, &target)),
        ("reply with another MAC", Message { link: foreign, ..reply }),
        ("reply with another MAC and none inside", Message { link: foreign, options: &[], ..reply }),
        ("reply with another MAC inside", Message { options: &false_target, ..reply }),
        ("link-local reply with another MAC inside", advertisement(local, SELF.v6, &false_target)),
        ("reply from afar", Message { hop_limit: 64, ..reply }),
    ];
    for (lie, message) in lies {
        let frame = message.frame()?;
        let outcome = scene.sends(frame.as_slice())?;
        outcome.must_be(Reason::NeighSpoof).context(lie)?;
        assert_eq!(outcome.bytes, frame);
    }
    Ok(())
}

#[test]
fn router_messages_are_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    for (kind, reason) in [(133, Reason::Multicast), (134, Reason::RogueRouter), (137, Reason::RogueRouter)] {
        for src in [SELF.v6, SELF.link_local(), GATEWAY, Ipv6Addr::UNSPECIFIED] {
            for hop_limit in [255, 64] {
                let frame = Message { hop_limit, kind, ..solicitation(src, AWAY.v6, &[]) }.frame()?;
                let outcome = scene.sends(frame)?;
                outcome.must_be(reason).with_context(|| format!("type {kind} from {src}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn other_messages_of_icmpv6_are_packets_like_any() -> Result<()> {
    let mut scene = Scene::set()?;
    for kind in [1, 2, 128, 129, 132, 138] {
        let to_pod = Message { kind, link: SELF.link(), dst: OTHER.v6, ..solicitation(SELF.v6, OTHER.v6, &[]) };
        scene.sends(to_pod.frame()?)?.must_be(Reason::Delivered).with_context(|| format!("type {kind}"))?;
        let from_local = Message { src: SELF.link_local(), ..to_pod };
        scene.sends(from_local.frame()?)?.must_be(Reason::SourceAddr).with_context(|| format!("type {kind}"))?;
    }
    Ok(())
}

#[test]
fn a_message_that_ends_too_soon_is_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let options = option(SOURCE, SELF.link().src);
    let whole = solicitation(SELF.v6, GATEWAY, &options).frame()?;
    let cut = |len: usize| {
        let mut frame = whole[..len].to_vec();
        frame[18..20].copy_from_slice(&u16::try_from(len - 54)?.to_be_bytes());
        Ok::<_, anyhow::Error>(frame)
    };
    // 78 is a message without options.
    for len in (54..whole.len()).filter(|len| *len != 78) {
        scene.sends(cut(len)?)?.must_be(Reason::Malformed).with_context(|| format!("{len} bytes"))?;
    }
    scene.sends(cut(78)?)?.must_be(Reason::Answered)?;
    // The message goes on behind the end that its header names.
    for payload in (0..24).chain(25..32) {
        let mut frame = whole.clone();
        frame[19] = payload;
        scene.sends(frame)?.must_be(Reason::Malformed).with_context(|| format!("payload of {payload}"))?;
    }
    Ok(())
}

#[test]
fn options_without_end_are_dropped() -> Result<()> {
    let mut scene = Scene::set()?;
    let own = option(SOURCE, SELF.link().src);
    for (count, reason) in [(7, Reason::Answered), (8, Reason::Malformed), (40, Reason::Malformed)] {
        let frame = solicitation(SELF.v6, GATEWAY, &own.repeat(count)).frame()?;
        scene.sends(frame)?.must_be(reason).with_context(|| format!("{count} options"))?;
    }
    let without_length = [&[14, 0, 0, 0, 0, 0, 0, 0][..], &own].concat();
    let beyond = [14, 2, 0, 0, 0, 0, 0, 0];
    for options in [&without_length[..], &beyond] {
        scene.sends(solicitation(SELF.v6, GATEWAY, options).frame()?)?.must_be(Reason::Malformed)?;
    }
    Ok(())
}
