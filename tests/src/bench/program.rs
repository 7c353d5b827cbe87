//! What the program at a pod's interface takes for a packet between two pods that know each other.

use anyhow::Result;
use weft_abi::{Pod, Reason};
use weft_cni::mac::Mac;

use super::statistics::median;
use super::{Bench, Figures, Target, progress};
use crate::packet::craft::{self, Link};
use crate::program::scene::{OTHER, SELF, Scene};
use crate::program::{Hook, baseline};

/// Runs of one turn: the kernel answers with their mean, in whole nanoseconds.
const REPEAT: u32 = 200_000;

/// Runs `from_pod` and an empty program in turns.
pub(super) fn measure(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let rounds = bench.rounds(21, 9);
    progress(&format!("{REPEAT} runs of from_pod and of an empty program, {rounds} rounds"));
    let mut scene = Scene::set()?;
    // The receiver's host end bears the sender's MAC: the rewritten frame is an honest one of the sender again.
    let receiver = Pod { host_mac: SELF.pod.pod_mac, ..OTHER.pod };
    for address in OTHER.addresses() {
        scene.programs.add(address, receiver)?;
    }
    // For the device that it arrives at, as the frames of a pod are.
    let link = Link { dst: Mac([0; 6]), ..SELF.link() };
    for source in SELF.addresses() {
        let frame = craft::udp(link, source, OTHER.like(source), 9, &[0; 64])?;
        scene.sends(frame.as_slice())?.must_be(Reason::Delivered)?;
        let (mut all, mut empty, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let base = f64::from(u32::try_from(baseline::time(&frame, REPEAT)?)?);
            let time = f64::from(u32::try_from(scene.programs.time(Hook::FromPod, frame.as_slice(), REPEAT)?)?);
            all.push(time);
            empty.push(base);
            over.push(time - base);
        }
        let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
        figures.note(format!("{family}, empty program"), median(&empty), "ns");
        figures.note(format!("{family}, from_pod"), median(&all), "ns");
        let name = format!("{family}, from_pod over the empty program");
        figures.aim(name, median(&over), "ns", Target::AtMost(100.0));
    }
    Ok(())
}
