//! `cargo xtask demo`: nodes and pods, shown while they come, talk and go.

mod nodes;
mod publish;
mod screen;
mod stage;
mod ways;
pub mod web;

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::need;
use crate::site::{self, Site};

use nodes::Nodes;
use screen::Screen;
use stage::Stage;

/// Name of the demo's site: its directory, and the beginning of its namespaces' names.
const SITE: &str = "weft-demo";

/// Shows everything on that many nodes, and takes it down again unless it is to be kept.
pub fn run(nodes: u8, keep: bool, plain: bool) -> Result<()> {
    let screen = Screen::new(plain);
    let started = Instant::now();
    let site = Site::open(SITE)?;
    if nodes == 1 {
        let stage = show(&screen, &site)?;
        if keep {
            stage.hints(&screen)?;
            return stay(&site, stage);
        }
        stage.leave(&screen)?;
    } else {
        let stage = show_nodes(&screen, &site, nodes)?;
        if keep {
            stage.hints(&screen)?;
            return stay(&site, stage);
        }
        stage.leave(&screen)?;
    }
    drop(site);
    screen.done(&format!("All of it worked and all of it is gone, in {:.1} s.", started.elapsed().as_secs_f64()));
    Ok(())
}

/// What drops ends processes and removes names; `--down` does both later, by the site's name.
#[expect(clippy::unnecessary_wraps, reason = "the last step of a run")]
fn stay<T>(site: &Site, stage: T) -> Result<()> {
    site.keep();
    mem::forget(stage);
    Ok(())
}

fn show_nodes(screen: &Screen, site: &Arc<Site>, nodes: u8) -> Result<Nodes> {
    screen.title(&format!("weft: pods on {nodes} nodes and out into the world, without a rule of netfilter"));
    let stage = Nodes::set(screen, site, nodes)?;
    stage.reach(screen)?;
    stage.fetch(screen)?;
    stage.trace(screen)?;
    stage.restart_the_agents(screen)?;
    stage.look_inside(screen)?;
    Ok(stage)
}

fn show(screen: &Screen, site: &Arc<Site>) -> Result<Stage> {
    screen.title("weft: three pods on one node, through the real plugin and real eBPF programs");
    let stage = Stage::set(screen, site)?;
    stage.talk(screen)?;
    stage.catch_a_liar(screen)?;
    stage.publish(screen)?;
    stage.restart_the_agent(screen)?;
    stage.look_inside(screen)?;
    Ok(stage)
}

/// Takes down what an earlier run kept.
pub fn down(plain: bool) -> Result<()> {
    need::root()?;
    let screen = Screen::new(plain);
    let there = site::directory(SITE).exists();
    // Opening removes what is there, unless another process is showing it right now.
    drop(Site::open(SITE).context("take the demo down")?);
    screen.done(if there { "The demo is gone." } else { "There was no demo to take down." });
    Ok(())
}

/// How agents are stopped at the end of a demo.
const STOP: Signal = Signal::SIGTERM;
