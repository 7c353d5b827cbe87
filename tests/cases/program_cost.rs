//! What a packet between two pods of the node costs.

use anyhow::Result;
use weft_abi::{Pod, Reason};
use weft_cni::mac::Mac;
use weft_tests::packet::craft::{self, Link};
use weft_tests::program::Hook;
use weft_tests::program::baseline;
use weft_tests::program::scene::{OTHER, SELF, Scene};

/// Nanoseconds over an empty program.
const LIMIT: u128 = 100;

const REPEAT: u32 = 200_000;

#[test]
fn a_delivery_costs_two_look_ups_and_little_more() -> Result<()> {
    let mut scene = Scene::set()?;
    // The receiver's host end bears the sender's MAC, so that the frame is honest again after each run.
    let receiver = Pod { host_mac: SELF.pod.pod_mac, ..OTHER.pod };
    for addr in OTHER.addresses() {
        scene.programs.add(addr, receiver)?;
    }
    // For the device that it arrives at, as the frames of a pod are.
    let link = Link { dst: Mac([0; 6]), ..SELF.link() };
    for src in SELF.addresses() {
        let frame = craft::udp(link, src, OTHER.like(src), 9, &[0; 64])?;
        scene.sends(frame.as_slice())?.must_be(Reason::Delivered)?;
        let mut best = u128::MAX;
        for _ in 0..5 {
            let empty = baseline::time(&frame, REPEAT)?;
            best = best.min(scene.programs.time(Hook::FromPod, frame.as_slice(), REPEAT)?.saturating_sub(empty));
        }
        #[expect(clippy::print_stdout, reason = "a figure to keep an eye on")]
        {
            println!("from {src}: {best} ns over an empty program");
        }
        assert!(best <= LIMIT, "{best} ns over an empty program, {LIMIT} are allowed");
    }
    Ok(())
}
