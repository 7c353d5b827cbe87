//! Ports of the node that are pods', asked for by pods of the node: another one, and the pod itself.

use anyhow::{Context, Result, ensure};
use weft_abi::{Pod, PodFlags, Reason};
use weft_tests::node::Family;
use weft_tests::packet::datagram::{ACK, Datagram, Kind, RST, SYN};
use weft_tests::program::scene::{OTHER, SELF};
use weft_tests::program::underlay::{Underlay, delivered, must_equal, neighbour, node, pod, tuple};
use weft_tests::program::{Action, Hook, IFINDEX, Outcome};

use super::program_ports::{ASKED, LISTENS, as_delivered, kinds, listens, request, set};

/// Every pod is seen at the one device that a test run has.
fn set_local(flags: u32) -> Result<Underlay> {
    let mut underlay = set()?;
    for family in Family::BOTH {
        underlay.programs.add(neighbour(family), Pod { ifindex: IFINDEX, flags, ..OTHER.pod })?;
    }
    Ok(underlay)
}

fn must_redirect(outcome: &Outcome, due: &Datagram) -> Result<()> {
    outcome.must_be(Reason::Translated).with_context(|| format!("{due:?}"))?;
    ensure!(outcome.action == Action::Redirect, "it was told to {:?}", outcome.action);
    must_equal(&outcome.bytes, &due.frame())
}

#[test]
fn another_pod_of_the_node_is_served() -> Result<()> {
    for family in Family::BOTH {
        for flags in [0, PodFlags::ADOPTED] {
            for kind in kinds(family) {
                let mut underlay = set_local(flags)?;
                let asked = request(kind, family).from((neighbour(family), 50_000).into()).link(OTHER.link());
                let more = if kind == Kind::Tcp(SYN) { Kind::Tcp(ACK) } else { kind };
                for asked in [asked.clone(), Datagram { kind: more, ..asked }] {
                    must_redirect(&underlay.programs.run(Hook::FromPod, asked.frame())?, &as_delivered(&asked))?;
                    let answer = as_delivered(&asked).answer().link(SELF.link());
                    let outcome = underlay.programs.run(Hook::FromPod, answer.frame())?;
                    must_redirect(&outcome, &asked.answer().link(OTHER.link_back()))?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_pod_reaches_itself_by_the_node() -> Result<()> {
    for family in Family::BOTH {
        for kind in kinds(family) {
            let mut underlay = set_local(0)?;
            let asked = request(kind, family).from((pod(family), 50_000).into()).link(SELF.link());
            let more = if kind == Kind::Tcp(SYN) { Kind::Tcp(ACK) } else { kind };
            for asked in [asked.clone(), Datagram { kind: more, ..asked }] {
                // It sees the node ask, by the port that it asked from.
                let came = asked.from((node(family), 50_000).into()).to((pod(family), listens(kind)).into());
                must_redirect(&underlay.programs.run(Hook::FromPod, asked.frame())?, &came.clone().link(delivered()))?;
                let answer = came.answer().link(SELF.link());
                let outcome = underlay.programs.run(Hook::FromPod, answer.frame())?;
                must_redirect(&outcome, &asked.answer().link(delivered()))?;
            }
            assert_eq!(underlay.programs.flows()?.len(), 2);
            assert_eq!(underlay.programs.nats()?.len(), 2);
        }
    }
    Ok(())
}

#[test]
fn what_is_the_node_s_passes() -> Result<()> {
    let mut underlay = set_local(0)?;
    for family in Family::BOTH {
        for kind in kinds(family) {
            for from in [pod(family), neighbour(family)] {
                let link = if from == pod(family) { SELF.link() } else { OTHER.link() };
                let frame = request(kind, family)
                    .from((from, 50_000).into())
                    .to((node(family), ASKED + 1).into())
                    .link(link)
                    .frame();
                underlay.programs.run(Hook::FromPod, frame.as_slice())?.must_pass(&frame)?;
            }
        }
        let reset = request(Kind::Tcp(RST), family).from((pod(family), 50_000).into()).link(SELF.link()).frame();
        underlay.programs.run(Hook::FromPod, reset.as_slice())?.must_pass(&reset)?;
        let echo = Datagram { kind: Kind::EchoRequest, ..request(Kind::Udp, family) };
        let echo = echo.from((pod(family), 50_000).into()).to((node(family), 0).into()).link(SELF.link()).frame();
        underlay.programs.run(Hook::FromPod, echo.as_slice())?.must_pass(&echo)?;
    }
    assert_eq!((underlay.programs.flows()?, underlay.programs.nats()?), (vec![], vec![]));
    Ok(())
}

#[test]
fn errors_between_pods_find_their_way() -> Result<()> {
    for (family, (kind, code)) in Family::BOTH.into_iter().zip([(3, 3), (1, 4)]) {
        let mut underlay = set_local(0)?;
        let asked = request(Kind::Udp, family).from((neighbour(family), 50_000).into()).link(OTHER.link());
        underlay.programs.run(Hook::FromPod, asked.frame())?.must_be(Reason::Translated)?;
        // The server does not listen.
        let refusal = Datagram { link: SELF.link(), ..as_delivered(&asked) }.error(pod(family), kind, code, 0, 500);
        let outcome = underlay.programs.run(Hook::FromPod, refusal)?;
        outcome.must_be(Reason::Translated)?;
        let due = Datagram { link: OTHER.link_back(), ..asked.clone() }.error(node(family), kind, code, 0, 500);
        must_equal(&outcome.bytes, &due)?;
        // Whoever asked is gone when the answer comes.
        let refusal = Datagram { link: OTHER.link(), ..asked.answer() }.error(neighbour(family), kind, code, 0, 500);
        let outcome = underlay.programs.run(Hook::FromPod, refusal)?;
        outcome.must_be(Reason::Translated)?;
        let answer = as_delivered(&asked).answer();
        let due = Datagram { link: delivered(), ..answer }.error(neighbour(family), kind, code, 0, 500);
        must_equal(&outcome.bytes, &due)?;
    }
    Ok(())
}

#[test]
fn other_flows_of_a_pod_with_ports_are_as_ever() -> Result<()> {
    let mut underlay = set_local(0)?;
    for family in Family::BOTH {
        let sent = Datagram::new(Kind::Udp, (pod(family), LISTENS).into(), (neighbour(family), 9).into());
        let sent = sent.link(SELF.link());
        let outcome = underlay.programs.run(Hook::FromPod, sent.frame())?;
        outcome.must_be(Reason::Delivered)?;
        must_equal(&outcome.bytes, &sent.clone().link(OTHER.link_back()).frame())?;
        ensure!(underlay.programs.flow(&tuple(&sent))?.is_none());
    }
    Ok(())
}
