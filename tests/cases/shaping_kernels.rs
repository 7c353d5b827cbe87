//! Limits hold with the queueing discipline that the kernel has: departure times with fq, else classes of htb.

use anyhow::{Result, ensure};
use weft_tests::exec;
use weft_tests::netns::Netns;
use weft_tests::node::{Family, Node, Settings};
use weft_tests::site::Site;
use weft_tests::traffic::flood;

use super::{ONE, TIME, limited, must_be_within};

/// Bits a second.
const RATES: [u64; 3] = [1_000_000, 10_000_000, 100_000_000];

#[test]
fn the_agent_s_own_choice_holds_at_every_rate() -> Result<()> {
    let method = if has_fq()? { "edt" } else { "htb" };
    holds(Settings::new(None), method)
}

#[test]
fn classes_hold_at_every_rate() -> Result<()> {
    holds(Settings::new(None).flag("--shaper=htb"), "htb")
}

/// Whether this kernel has the discipline that departure times need, asked without the agent.
fn has_fq() -> Result<bool> {
    let netns = Netns::with_loopback(&Site::of_tests()?.unique("fq"))?;
    Ok(exec::tool_in(&netns, "tc", &["qdisc", "add", "dev", "lo", "root", "fq"]).is_ok())
}

#[expect(clippy::cast_precision_loss, reason = "bits a second")]
fn holds(settings: Settings, method: &str) -> Result<()> {
    let node = Node::start_with(settings)?;
    let status = node.weft_json(&["status"])?;
    ensure!(status["bandwidth"]["method"] == method, "not {method}: {}", status["bandwidth"]);
    let other = node.pod()?;
    let mut wrong = Vec::new();
    for rate in RATES {
        let pod = limited(&node, Some(rate), Some(rate))?;
        let (there, here) = (pod.address(Family::V4)?, other.address(Family::V4)?);
        let offered = 1.5 * rate as f64;
        // Datagrams of 100 Mbit/s are about what an emulated processor can send.
        let least = if rate > 10_000_000 { 0.7 } else { 0.9 };
        let figures = [
            ("TCP in", flood::tcp(other.netns(), pod.netns(), there, ONE)?),
            ("TCP out", flood::tcp(pod.netns(), other.netns(), here, ONE)?),
            ("UDP in", flood::udp(other.netns(), pod.netns(), there, offered, TIME)?),
            ("UDP out", flood::udp(pod.netns(), other.netns(), here, offered, TIME)?),
        ];
        for (what, reached) in figures {
            #[expect(clippy::print_stdout, reason = "figures to keep an eye on")]
            {
                println!("{method}, {what} at {rate} bit/s: {:.3}", reached.mean / rate as f64);
            }
            // Never more than was asked for; less where the machine itself is the limit.
            wrong.extend(must_be_within(what, &reached, rate as f64, least..1.05).err());
        }
        pod.del(&node)?;
    }
    ensure!(wrong.is_empty(), "{method}: {wrong:?}");
    Ok(())
}
