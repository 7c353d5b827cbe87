//! Limited pods: into the queue with a token, a class or a time to leave there, and on from where they stopped.

use anyhow::{Context, Result, ensure};
use weft_abi::{Direction, Limit, NodeState, Pod, PodFlags, Rate, Reason, Token};
use weft_tests::program::scene::{OTHER, SELF, Scene, udp};
use weft_tests::program::{Action, Hook, IFINDEX, Skb};

/// The shaper of the scene: the entrance is not where the hooks run, or they would cut.
const NODE: (u32, u32) = (500, IFINDEX);

/// Both pods limited in both directions to 1.25 MB/s, so slow that packets are cut first.
fn limited(departure: u32) -> Result<Scene> {
    let mut scene = Scene::set()?;
    scene.programs.set_node(&NodeState { shaper: NODE.0, shaped: NODE.1, departure, ..NodeState::default() })?;
    for cast in [SELF, OTHER] {
        let pod = Pod { flags: PodFlags::LIMIT_EGRESS | PodFlags::LIMIT_INGRESS, ..cast.pod };
        for addr in cast.addresses() {
            scene.programs.add(addr, pod)?;
        }
        let limit = |class| Limit { rate: 1_250_000, credit_ns: 5_000_000, class, ..Limit::default() };
        let rate = Rate { egress: limit(0x1_0010), ingress: limit(0x1_0011), ..Rate::default() };
        scene.programs.put_rate(cast.pod.endpoint_id, &rate)?;
    }
    Ok(scene)
}

fn token(direction: Direction) -> Token {
    Token::new(direction, 0)
}

/// The verdicts on packets that have to wait, and find no room to.
pub(super) fn verdicts() -> Result<[Reason; 2]> {
    let mut scene = limited(1)?;
    let frame = udp(SELF.v4.into(), OTHER.v4.into())?;
    let queued = scene.sends(frame.as_slice())?.reason;
    let rate = scene.programs.rate(OTHER.pod.endpoint_id)?.context("no entry")?;
    let full = Rate { ingress: Limit { next_ns: u64::MAX / 2, ..rate.ingress }, ..rate };
    scene.programs.put_rate(OTHER.pod.endpoint_id, &full)?;
    let packet = Skb::from(frame).marked(token(Direction::Ingress).cut().mark());
    Ok([queued, scene.programs.run(Hook::ToShaper, packet)?.reason])
}

#[test]
fn a_packet_waits_first_as_its_sender_s_and_then_as_its_receiver_s() -> Result<()> {
    let mut scene = limited(0)?;
    for src in SELF.addresses() {
        let frame = udp(src, OTHER.like(src))?;
        scene.sends(frame.as_slice())?.must_be(Reason::Queued)?;
        let (action, beside) = scene.programs.pass(Hook::FromPod, frame.as_slice())?;
        let sent = Token::of(beside.mark).context("no token")?;
        ensure!((action, sent.direction(), sent.is_cut()) == (Action::Redirect, Direction::Egress, false));
        // Out of the queue it is judged, and queued for the pod that it is for.
        let (action, beside) = scene.programs.pass(Hook::FromPod, Skb::from(frame).marked(beside.mark))?;
        let delivered = Token::of(beside.mark).context("no token for the receiver")?;
        ensure!((action, delivered.direction()) == (Action::Redirect, Direction::Ingress));
    }
    Ok(())
}

#[test]
fn who_is_not_limited_gets_no_token() -> Result<()> {
    let mut scene = Scene::set()?;
    let (_, beside) = scene.programs.pass(Hook::FromPod, udp(SELF.v4.into(), OTHER.v4.into())?)?;
    ensure!(beside.mark == 0);
    Ok(())
}

#[test]
fn a_slow_pod_s_packets_are_cut_before_they_wait_in_their_class() -> Result<()> {
    let mut scene = limited(0)?;
    let frame = udp(SELF.v4.into(), OTHER.v4.into())?;
    for (direction, class) in [(Direction::Egress, 0x1_0010), (Direction::Ingress, 0x1_0011)] {
        let whole = Skb::from(frame.as_slice()).marked(token(direction).mark());
        let (action, beside) = scene.programs.pass(Hook::ToShaper, whole)?;
        ensure!((action, beside.priority) == (Action::Redirect, 0));
        let cut = Skb::from(frame.as_slice()).marked(token(direction).cut().mark());
        let (action, beside) = scene.programs.pass(Hook::ToShaper, cut)?;
        ensure!((action, beside.priority) == (Action::Next, class), "{action:?} {beside:x?}");
    }
    let rate = scene.programs.rate(SELF.pod.endpoint_id)?.context("no entry")?;
    ensure!((rate.egress.offered_packets, rate.egress.offered_bytes) == (1, frame.len() as u64 - 14));
    Ok(())
}

#[test]
fn departure_times_follow_the_rate_up_to_the_queue_s_end() -> Result<()> {
    let mut scene = limited(1)?;
    let frame = weft_tests::packet::craft::udp(SELF.link(), SELF.v4.into(), OTHER.v4.into(), 9, &[0; 1222])?;
    ensure!(frame.len() == 14 + 1250, "a packet of {} bytes, which takes no millisecond", frame.len() - 14);
    let cut = || Skb::from(frame.as_slice()).marked(token(Direction::Egress).cut().mark());
    let (mut times, mut dropped) = (Vec::new(), 0);
    // 5 ms of burst and 50 ms of queue, and what time goes by meanwhile: the kernel runs a packet in well under 1 ms.
    for _ in 0..200 {
        match scene.programs.pass(Hook::ToShaper, cut())? {
            (Action::Next, beside) => times.push(beside.departure_ns),
            (Action::Shot, _) => dropped += 1,
            (action, _) => anyhow::bail!("{action:?}"),
        }
    }
    let steps: Vec<_> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    let even = steps.iter().filter(|step| **step == 1_000_000).count();
    ensure!(even >= 40, "steps of {steps:?}");
    ensure!(times.iter().all(|time| *time != 0) && (50..190).contains(&times.len()), "{} were taken", times.len());
    let rate = scene.programs.rate(SELF.pod.endpoint_id)?.context("no entry")?;
    ensure!((rate.egress.offered_packets, rate.egress.dropped_packets) == (200, dropped));
    let full = Rate { egress: Limit { next_ns: u64::MAX / 2, ..rate.egress }, ..rate };
    scene.programs.put_rate(SELF.pod.endpoint_id, &full)?;
    let action = scene.programs.pass(Hook::ToShaper, cut())?.0;
    ensure!(action == Action::Shot, "{action:?} with a full queue");
    Ok(())
}

#[test]
fn at_the_far_end_it_is_counted_and_goes_on() -> Result<()> {
    let mut scene = limited(1)?;
    let frame = udp(SELF.v4.into(), OTHER.v4.into())?;
    let out = |direction| Skb::from(frame.as_slice()).marked(token(direction).cut().mark());
    let (action, beside) = scene.programs.pass(Hook::FromShaper, out(Direction::Egress))?;
    // The token stays: it says that the packet has waited.
    ensure!((action, beside.departure_ns) == (Action::Redirect, 0) && Token::of(beside.mark).is_some());
    let (action, beside) = scene.programs.pass(Hook::FromShaper, out(Direction::Ingress))?;
    ensure!((action, beside.mark) == (Action::Redirect, 0));
    scene.programs.run(Hook::FromShaper, out(Direction::Ingress))?.must_be(Reason::Delivered)?;
    let sender = scene.programs.rate(SELF.pod.endpoint_id)?.context("no entry")?;
    let receiver = scene.programs.rate(OTHER.pod.endpoint_id)?.context("no entry")?;
    ensure!((sender.egress.sent_packets, receiver.ingress.sent_packets, receiver.egress.sent_packets) == (1, 2, 0));
    Ok(())
}
