//! Datagrams in pieces: the first has the ports, the others follow it.

use anyhow::{Context, Result, bail, ensure};
use weft_abi::{Fragment, PARKED_FRAME_MAX, Reason};
use weft_tests::node::Family;
use weft_tests::packet::datagram::{Datagram, Kind};
use weft_tests::program::underlay::{LINK, Underlay, delivered, must_equal, node, pod, world};
use weft_tests::program::{Action, IFINDEX, OVERLAY_PORT, Outcome};

use super::program_masquerade::to_world;

const KINDS: [Kind; 2] = [Kind::Udp, Kind::Sctp];

fn must_leave(outcome: &Outcome, expected: &[u8]) -> Result<()> {
    outcome.must_be(Reason::Translated)?;
    must_equal_piece(&outcome.bytes, expected)
}

fn must_arrive(outcome: &Outcome, expected: &[u8]) -> Result<()> {
    outcome.must_be(Reason::Translated)?;
    assert_eq!(outcome.action, Action::Redirect);
    must_equal_piece(&outcome.bytes, expected)
}

/// As [`must_equal`], with the first piece's sum right for the whole datagram.
fn must_equal_piece(got: &[u8], expected: &[u8]) -> Result<()> {
    must_equal(got, expected)?;
    ensure!(got[14..] == expected[14..], "a checksum differs:\n   got {got:02x?}\nwanted {expected:02x?}");
    Ok(())
}

/// The pieces of an answer to a pod, as they come in and as the pod is to get them.
fn answer(underlay: &mut Underlay, kind: Kind, family: Family) -> Result<[Vec<Vec<u8>>; 2]> {
    let sent = to_world(kind, family);
    let left = underlay.must_translate(&sent)?;
    Ok([left.answer(), sent.answer().link(delivered())].map(|answer| answer.payload(&[0xa5; 4000]).pieces(1400, 78)))
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
            let [came, due] = answer(&mut underlay, kind, family)?;
            for (piece, expected) in came.into_iter().zip(due) {
                must_arrive(&underlay.comes(piece)?, &expected).with_context(|| format!("{kind:?} {family:?}"))?;
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
        // It may be a pod's all the same: the first piece will tell.
        let [parked] = underlay.programs.parked()?[..] else { bail!("one record expected") };
        let (src, dst) = (world(family).into(), node(family).into());
        let id = if family == Family::V4 { u32::from(10_u16.to_be()) } else { 10_u32.to_be() };
        assert_eq!(parked.key, Fragment { src, dst, id, protocol: 17, pad: [0; 3] });
        assert_eq!((parked.ifindex, &parked.frame[..usize::try_from(parked.len)?]), (IFINDEX, frame.as_slice()));
        assert_ne!(parked.ktime_ns, 0);
    }
    Ok(())
}

#[test]
fn a_parked_piece_comes_to_the_pod_when_it_comes_again() -> Result<()> {
    for family in Family::BOTH {
        for kind in KINDS {
            let mut underlay = Underlay::set()?;
            let [pieces, due] = answer(&mut underlay, kind, family)?;
            for piece in pieces.iter().skip(1) {
                underlay.comes(piece.as_slice())?.must_be(Reason::Host)?;
            }
            underlay.comes(pieces[0].as_slice())?.must_be(Reason::Translated)?;
            let parked = underlay.programs.parked()?;
            assert_eq!(parked.len(), pieces.len() - 1);
            for (parked, expected) in parked.iter().zip(&due[1..]) {
                let outcome = underlay.comes(&parked.frame[..usize::try_from(parked.len)?])?;
                must_arrive(&outcome, expected).with_context(|| format!("{kind:?} {family:?}"))?;
            }
            assert!(underlay.programs.parked()?.is_empty());
        }
    }
    Ok(())
}

#[test]
fn pieces_that_follow_the_node_s_own_are_not_parked() -> Result<()> {
    for family in Family::BOTH {
        for (kind, port) in [(Kind::Udp, 40_000), (Kind::Sctp, 40_000), (Kind::Udp, OVERLAY_PORT)] {
            let mut underlay = Underlay::set()?;
            let own = Datagram::new(kind, (world(family), 443).into(), (node(family), port).into()).link(LINK);
            for piece in own.payload(&[3; 3000]).pieces(1400, 12) {
                let outcome = underlay.comes(piece.as_slice())?;
                outcome.must_be(Reason::Host)?;
                assert_eq!(outcome.bytes, piece);
            }
            assert!(underlay.programs.parked()?.is_empty(), "{kind:?} {family:?} to {port}");
        }
    }
    Ok(())
}

#[test]
fn what_no_record_holds_is_not_parked() -> Result<()> {
    for family in Family::BOTH {
        let mut underlay = Underlay::set()?;
        let stray = Datagram::new(Kind::Udp, (world(family), 443).into(), (node(family), 40_000).into()).link(LINK);
        let stray = stray.payload(&[3; 6000]);
        for (size, parked) in [(1960, 1), (2040, 0)] {
            let piece = stray.pieces(size, 13)[1].clone();
            let fits = piece.len() <= PARKED_FRAME_MAX;
            ensure!(fits == (parked == 1), "{} bytes test nothing", piece.len());
            underlay.comes(piece)?.must_be(Reason::Host)?;
            assert_eq!(underlay.programs.parked()?.len(), parked);
        }
    }
    Ok(())
}

#[test]
fn a_flood_of_early_pieces_is_lost_and_passed() -> Result<()> {
    let mut underlay = Underlay::set()?;
    let stray = Datagram::new(Kind::Udp, (world(Family::V4), 443).into(), (node(Family::V4), 40_000).into());
    let piece = stray.link(LINK).payload(&[3; 3000]).pieces(1400, 14)[1].clone();
    for _ in 0..300 {
        underlay.comes(piece.as_slice())?.must_be(Reason::Host)?;
    }
    let parked = underlay.programs.parked()?.len();
    assert!((200..300).contains(&parked), "{parked} records");
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
