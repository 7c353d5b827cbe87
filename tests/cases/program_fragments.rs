//! Datagrams in pieces: the first has the ports, the others follow it.

use anyhow::{Context, Result, ensure};
use weft_abi::Reason;
use weft_tests::node::Family;
use weft_tests::packet::datagram::{Datagram, Kind};
use weft_tests::program::underlay::{LINK, Underlay, delivered, must_equal, node, pod, world};
use weft_tests::program::{Action, Outcome};

use super::program_masquerade::to_world;

const KINDS: [Kind; 2] = [Kind::Udp, Kind::Sctp];

fn must_leave(outcome: &Outcome, expected: &[u8]) -> Result<()> {
    outcome.must_be(Reason::Translated)?;
    must_equal_piece(&outcome.bytes, expected)
}

/// As [`must_equal`], with the first piece's sum right for the whole datagram.
fn must_equal_piece(got: &[u8], expected: &[u8]) -> Result<()> {
    must_equal(got, expected)?;
    ensure!(got[14..] == expected[14..], "a checksum differs:\n   got {got:02x?}\nwanted {expected:02x?}");
    Ok(())
}

#[test]
fn every_piece_of_a_pod_s_datagram_gets_the_node_s_address() -> Result<()> {
    for family in Family::BOTH {
        for kind in KINDS {
            for options in [false, true] {
                let mut underlay = Underlay::set()?;
                let sent = to_world(kind, family).payload(&[0x5a; 4000]);
                let sent = if options { sent.options() } else { sent };
                let left = sent.from((node(family), sent.src.port()).into());
                for (piece, expected) in sent.pieces(1400, 77).into_iter().zip(left.pieces(1400, 77)) {
                    must_leave(&underlay.leaves(piece)?, &expected).with_context(|| format!("{kind:?} {family:?}"))?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_piece_of_an_answer_comes_to_the_pod() -> Result<()> {
    for family in Family::BOTH {
        for kind in KINDS {
            let mut underlay = Underlay::set()?;
            let sent = to_world(kind, family);
            let left = underlay.must_translate(&sent)?;
            let (came, due) = (left.answer().payload(&[0xa5; 4000]), sent.answer().payload(&[0xa5; 4000]));
            for (piece, expected) in came.pieces(1400, 78).into_iter().zip(due.link(delivered()).pieces(1400, 78)) {
                let outcome = underlay.comes(piece)?;
                outcome.must_be(Reason::Translated).with_context(|| format!("{kind:?} {family:?}"))?;
                assert_eq!(outcome.action, Action::Redirect);
                must_equal_piece(&outcome.bytes, &expected)?;
            }
        }
    }
    Ok(())
}

#[test]
fn pieces_of_two_datagrams_do_not_mix() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let one = to_world(Kind::Udp, family).payload(&[1; 3000]);
        let two = one.from((pod(family), 40_001).into()).to((world(family), 53).into()).payload(&[2; 3000]);
        let expected = [&one, &two].map(|sent| sent.from((node(family), sent.src.port()).into()));
        let sent = [one.pieces(1400, 1), two.pieces(1400, 2)];
        let left = [expected[0].pieces(1400, 1), expected[1].pieces(1400, 2)];
        for number in 0..sent[0].len() {
            for flow in [1, 0] {
                must_leave(&underlay.leaves(sent[flow][number].as_slice())?, &left[flow][number])?;
            }
        }
    }
    Ok(())
}

#[test]
fn pieces_in_any_order_get_the_node_s_address() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let sent = to_world(Kind::Udp, family).payload(&[3; 3000]);
        let left = sent.from((node(family), sent.src.port()).into());
        for (piece, expected) in sent.pieces(1400, 9).into_iter().zip(left.pieces(1400, 9)).rev() {
            must_leave(&underlay.leaves(piece)?, &expected).with_context(|| format!("{family:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_piece_of_nobody_s_datagram_is_the_node_s() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let stray = Datagram::new(Kind::Udp, (world(family), 443).into(), (node(family), 40_000).into());
        let frame = stray.link(LINK).payload(&[3; 3000]).pieces(1400, 10)[1].clone();
        let outcome = underlay.comes(frame.as_slice())?;
        outcome.must_be(Reason::Host)?;
        assert_eq!(outcome.bytes, frame);
    }
    Ok(())
}

#[test]
fn pieces_for_a_pod_need_no_ports() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let came = Datagram::new(Kind::Udp, (world(family), 5000).into(), (pod(family), 80).into());
        let came = came.link(LINK).payload(&[4; 3000]);
        let expected = came.clone().link(delivered()).pieces(1400, 11);
        // The other way round: a network may do that.
        for (piece, expected) in came.pieces(1400, 11).into_iter().zip(expected).rev() {
            let outcome = underlay.comes(piece)?;
            outcome.must_be(Reason::Delivered)?;
            must_equal_piece(&outcome.bytes, &expected)?;
        }
    }
    Ok(())
}
