//! What can be told only by doing it: done in a network namespace that nobody else sees, and that ends with its thread.

use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Builder;

use crate::config::Config;
use crate::node::{Expedite, Node, NodeError, OverlaySpec, Shaper};
use crate::text;

use super::check::Check;

/// Any that the agent's own could have.
const GROUP: u32 = 0x7765_6674;
const MTU: u32 = 1450;

/// What came of it.
#[derive(Debug)]
pub(super) enum Trial {
    Done {
        overlay: Option<Result<(), NodeError>>,
        shaper: Result<Shaper, NodeError>,
    },
    /// There is no namespace to be had.
    Refused(String),
}

/// Makes the devices that an agent would make.
pub(super) fn run(config: &Config) -> Trial {
    thread::scope(|scope| {
        let tried = scope.spawn(|| alone(config)).join();
        tried.unwrap_or_else(|_| Trial::Refused("the trial ended early".to_owned()))
    })
}

fn alone(config: &Config) -> Trial {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            return Trial::Refused("trying takes a network namespace, and that CAP_SYS_ADMIN".to_owned());
        }
        Err(errno) => return Trial::Refused(format!("no network namespace to try it in: {errno}")),
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Trial::Refused(error.to_string()),
    };
    runtime.block_on(async {
        let expedite = Expedite::new(false, &config.run_dir);
        let node = match Node::open(GROUP, &expedite, &config.proc_dir) {
            Ok(node) => node,
            Err(error) => return Trial::Refused(text::chain(&error)),
        };
        let overlay = match config.network.overlay {
            Some(overlay) => {
                let spec = OverlaySpec { port: overlay.port, mtu: MTU };
                Some(node.ensure_overlay(spec).await.map(drop))
            }
            None => None,
        };
        let shaper = node.ensure_shaper(config.shaper).await.map(|(shaper, _)| shaper);
        Trial::Done { overlay, shaper }
    })
}

pub(super) fn checks(trial: &Trial) -> Vec<Check> {
    const WAYS: [&str; 2] = ["VXLAN", "bandwidth limits"];
    let (overlay, shaper) = match trial {
        Trial::Refused(why) => return WAYS.map(|what| Check::unknown(what, "not tried", why)).to_vec(),
        Trial::Done { overlay, shaper } => (overlay, shaper),
    };
    let mut checks = Vec::new();
    checks.extend(overlay.as_ref().map(|made| match made {
        Ok(()) => Check::ok(WAYS[0], "a device can be made"),
        Err(error @ NodeError::Sysctl { .. }) => Check::unknown(WAYS[0], "made, not tuned", text::chain(error)),
        Err(error) => Check::missing(WAYS[0], "no device can be made", text::chain(error)),
    }));
    checks.push(match shaper {
        Ok(shaper) => Check::ok(WAYS[1], format!("held by {}", shaper.method.name())),
        Err(error @ NodeError::Sysctl { .. }) => Check::unknown(WAYS[1], "made, not tuned", text::chain(error)),
        Err(error) => {
            let why = text::chain(error);
            Check::degraded(WAYS[1], "none can be held", format!("a pod that asks for one is refused: {why}"))
        }
    });
    checks
}
