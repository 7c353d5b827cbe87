//! Flows by ports of the node: how they end, pass on and are remembered.

use anyhow::{Context, Result};
use weft_abi::{FlowFlags, HostPort, Pod, PodFlags, Reason};
use weft_tests::node::Family;
use weft_tests::packet::datagram::{ACK, Datagram, FIN, Kind, SYN};
use weft_tests::program::Hook;
use weft_tests::program::scene::{OTHER, SELF};
use weft_tests::program::underlay::{LINK, Underlay, delivered, must_equal, neighbour, node, pod, tuple};

use super::program_ports::{ASKED, LISTENS, answers, any, behind, must_deliver, must_stay, request, set, target};

#[test]
fn a_flow_ends_with_its_pod_and_the_next_one_takes_over() -> Result<()> {
    for family in Family::BOTH {
        for kind in [Kind::Tcp(ACK), Kind::Udp] {
            let mut underlay = set()?;
            let asked = request(kind, family);
            must_deliver(&underlay.comes(asked.frame())?, &asked)?;
            // The pod is gone, the port is nobody's.
            let port = behind(kind, neighbour(family));
            underlay.programs.withdraw(&target(kind, any(family)))?;
            underlay.programs.add(pod(family), Pod { endpoint_id: 99, ..SELF.pod })?;
            must_stay(&underlay.comes(asked.frame())?, &asked)?;
            assert_eq!(underlay.programs.nats()?, [], "the flow is still there");
            assert_eq!(underlay.programs.flows()?, [], "the flow is still there");
            // The port is another pod's.
            let heir = HostPort { endpoint_id: OTHER.pod.endpoint_id, ..port };
            underlay.programs.publish(&target(kind, any(family)), &heir)?;
            let outcome = underlay.comes(asked.frame())?;
            outcome.must_be(Reason::Translated)?;
            let due = asked.to((neighbour(family), LISTENS).into()).link(OTHER.link_back());
            must_equal(&outcome.bytes, &due.frame())?;
        }
    }
    Ok(())
}

#[test]
fn a_flow_moves_to_the_next_pod_with_its_port() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = set()?;
        let asked = request(Kind::Udp, family);
        must_deliver(&underlay.comes(asked.frame())?, &asked)?;
        // The same address even: a new pod in the place of the old one.
        let pod_of_now = Pod { endpoint_id: 99, flags: PodFlags::PORTS, ..SELF.pod };
        underlay.programs.add(pod(family), pod_of_now)?;
        let heir = HostPort { endpoint_id: 99, port: 81_u16.to_be(), ..behind(Kind::Udp, pod(family)) };
        underlay.programs.publish(&target(Kind::Udp, any(family)), &heir)?;
        let outcome = underlay.comes(asked.frame())?;
        outcome.must_be(Reason::Translated)?;
        must_equal(&outcome.bytes, &asked.to((pod(family), 81).into()).link(delivered()).frame())?;
    }
    Ok(())
}

#[test]
fn a_flow_remembers_how_far_it_has_come() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = set()?;
        let asked = request(Kind::Tcp(SYN), family);
        must_deliver(&underlay.comes(asked.frame())?, &asked)?;
        let (answer, _) = answers(&asked);
        let flags = |underlay: &Underlay| -> Result<u32> {
            Ok(underlay.programs.flow(&tuple(&answer))?.context("no flow")?.flags)
        };
        assert_eq!(flags(&underlay)? & (FlowFlags::REPLIED | FlowFlags::CONFIRMED), 0);
        underlay.programs.run(Hook::FromPod, answer.frame())?;
        assert_eq!(flags(&underlay)? & (FlowFlags::REPLIED | FlowFlags::CONFIRMED), FlowFlags::REPLIED);
        underlay.comes(Datagram { kind: Kind::Tcp(ACK), ..asked.clone() }.frame())?;
        let both = FlowFlags::REPLIED | FlowFlags::CONFIRMED;
        assert_eq!(flags(&underlay)? & both, both);
        underlay.comes(Datagram { kind: Kind::Tcp(FIN | ACK), ..asked.clone() }.frame())?;
        underlay.programs.run(Hook::FromPod, Datagram { kind: Kind::Tcp(FIN | ACK), ..answer.clone() }.frame())?;
        let closed = FlowFlags::FIN_INSIDE | FlowFlags::FIN_OUTSIDE;
        assert_eq!(flags(&underlay)? & closed, closed);
        // A new connection by the same ports.
        underlay.comes(asked.frame())?;
        assert_eq!(flags(&underlay)? & (closed | both), 0);
    }
    Ok(())
}

#[test]
fn a_half_that_was_forgotten_comes_back() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = set()?;
        let asked = request(Kind::Udp, family);
        let (answer, _) = answers(&asked);
        must_deliver(&underlay.comes(asked.frame())?, &asked)?;
        underlay.programs.forget_nat(&tuple(&asked.answer()))?;
        std::thread::sleep(std::time::Duration::from_millis(1100));
        underlay.leaves(answer.clone().link(LINK).frame())?.must_be(Reason::Translated)?;
        let nat = underlay.programs.nat(&tuple(&asked.answer()))?.context("no way back")?;
        assert_eq!(nat.endpoint_id, SELF.pod.endpoint_id);
        underlay.programs.forget_flow(&tuple(&answer))?;
        std::thread::sleep(std::time::Duration::from_millis(1100));
        must_deliver(&underlay.comes(asked.frame())?, &asked)?;
        let flow = underlay.programs.flow(&tuple(&answer))?.context("no flow")?;
        assert_eq!((flow.nat_addr, flow.nat_port), (node(family).into(), ASKED.to_be()));
    }
    Ok(())
}
