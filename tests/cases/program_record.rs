//! What a drop leaves behind.

use anyhow::{Context, Result, bail};
use weft_abi::{Addr, Direction, Event, Reason};
use weft_cni::mac::Mac;
use weft_tests::packet::craft::{self, BROADCAST, Link};
use weft_tests::program::scene::{AWAY, FOREIGN, OTHER, SELF, Scene, udp};
use weft_tests::program::{Hook, IFINDEX, Outcome};

/// The record without its time, which must be set.
fn record(outcome: &Outcome) -> Result<Event> {
    let event = outcome.event.context("no record")?;
    assert_ne!(event.ktime_ns, 0);
    Ok(Event { ktime_ns: 0, ..event })
}

fn of(frame: &[u8], reason: Reason, direction: Direction) -> Result<Event> {
    Ok(Event {
        ktime_ns: 0,
        reason: reason as u32,
        direction: direction as u32,
        ifindex: IFINDEX,
        len: u32::try_from(frame.len())?,
        src: Addr::default(),
        dst: Addr::default(),
        ethertype: u16::from_be_bytes(frame[12..14].try_into()?),
        protocol: 0,
        src_mac: frame[6..12].try_into()?,
        dst_mac: frame[..6].try_into()?,
        ..Event::default()
    })
}

#[test]
fn it_says_who_sent_what_to_whom() -> Result<()> {
    let mut scene = Scene::set()?;
    for own in SELF.addresses() {
        let (src, dst) = (AWAY.like(own), OTHER.like(own));
        let link = Link { src: FOREIGN, dst: Mac([2, 4, 6, 8, 10, 12]) };
        let frame = craft::udp(link, src, dst, 9, b"record me")?;
        let expected = Event {
            src: src.into(),
            dst: dst.into(),
            protocol: 17,
            src_port: 40_000_u16.to_be(),
            dst_port: 9_u16.to_be(),
            ..of(&frame, Reason::SourceAddr, Direction::Egress)?
        };
        assert_eq!(record(&scene.sends(frame.as_slice())?)?, expected);
        let (reason, direction) = (Reason::NotForPod as u32, Direction::Ingress as u32);
        let expected = Event { reason, direction, hook: Hook::ToPod as u8, ..expected };
        assert_eq!(record(&scene.receives(frame)?)?, expected);
    }
    Ok(())
}

#[test]
fn an_arp_message_s_addresses_are_in_it() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = craft::arp(Link { dst: BROADCAST, ..SELF.link() }, false, SELF.link().src, OTHER.v4, AWAY.v4)?;
    let (src, dst) = (Addr::from(std::net::IpAddr::from(OTHER.v4)), Addr::from(std::net::IpAddr::from(AWAY.v4)));
    let expected = Event { src, dst, ..of(&frame, Reason::NeighSpoof, Direction::Egress)? };
    assert_eq!(record(&scene.sends(frame)?)?, expected);
    Ok(())
}

#[test]
fn what_cannot_be_read_is_zero() -> Result<()> {
    let mut scene = Scene::set()?;
    let mut strange = udp(SELF.v4.into(), OTHER.v4.into())?;
    strange[12..14].copy_from_slice(&[0x88, 0xcc]);
    let expected = of(&strange, Reason::EtherType, Direction::Egress)?;
    assert_eq!(record(&scene.sends(strange)?)?, expected);
    let short = &craft::arp(SELF.link(), false, SELF.link().src, SELF.v4, AWAY.v4)?[..41];
    let expected = of(short, Reason::Malformed, Direction::Egress)?;
    assert_eq!(record(&scene.sends(short)?)?, expected);
    Ok(())
}

#[test]
fn time_goes_on_between_records() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = udp(AWAY.v4.into(), OTHER.v4.into())?;
    let mut time = || Ok::<_, anyhow::Error>(scene.sends(frame.as_slice())?.event.context("no record")?.ktime_ns);
    let (first, second) = (time()?, time()?);
    assert!(first < second);
    Ok(())
}

#[test]
fn a_full_buffer_loses_records_and_no_verdict() -> Result<()> {
    let mut scene = Scene::set()?;
    let frame = udp(AWAY.v4.into(), OTHER.v4.into())?;
    let before = scene.programs.counts()?;
    let packets = 2 * weft_abi::EVENTS_BYTES / 80;
    scene.programs.time(Hook::FromPod, frame, packets)?;
    let counted = scene.programs.counts()?.since(&before);
    let [(Reason::SourceAddr, Direction::Egress, count)] = counted[..] else { bail!("{counted:?}") };
    assert_eq!(count.packets, u64::from(packets));
    Ok(())
}
