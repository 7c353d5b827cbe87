//! Limits by annotations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use weft_agent::connectivity::{Answer, Question, Rate, Way};

use super::{no_weft, passed};
use crate::e2e::manifest::PodPlan;
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};

const EGRESS: &str = "kubernetes.io/egress-bandwidth";
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";

/// How far payload may be from the limit, headers included, in percent.
const TOLERANCE: u64 = 20;

/// Seconds at the beginning that a burst may fill.
const BURST: usize = 2;

fn question(stage: &Stage, cast: &Cast, way: Way, seconds: u32) -> Question {
    let server = if stage.places().len() > 1 { cast.on(1) } else { cast.neighbour() };
    let to = SocketAddr::new(server.addresses[0], server.port).to_string();
    Question::Rate(Rate { to, way, seconds })
}

fn plan(stage: &Stage, question: Question, key: &str, value: &str) -> PodPlan {
    let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    PodPlan { annotations, ..PodPlan::client(&stage.name("limited"), &stage.places()[0], vec![question]) }
}

fn rates(answers: &[Answer]) -> Result<&[u64]> {
    match answers {
        [Answer::Rate(rates)] => Ok(rates),
        other => bail!("nothing was measured: {other:?}"),
    }
}

/// The mean in kilobits, which has to be near that many megabits.
fn near(what: &str, kilobits: &[u64], megabits: u64) -> Result<f64> {
    ensure!(!kilobits.is_empty(), "{what}: too short to measure");
    let mean = kilobits.iter().sum::<u64>() / kilobits.len() as u64;
    let off = mean.abs_diff(megabits * 1000) / (megabits * 10);
    ensure!(off <= TOLERANCE, "{what}: {mean} kbit/s, {off} % off the limit of {megabits} Mbit/s ({kilobits:?})");
    Ok(f64::from(u32::try_from(mean)?) / 1000.0)
}

pub(super) async fn from_the_start(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    if stage.cluster().weft.is_none() {
        return Ok(no_weft());
    }
    let mut told = Vec::new();
    for (way, key, megabits) in [(Way::Out, EGRESS, 20), (Way::In, INGRESS, 40)] {
        let plan = plan(stage, question(stage, cast, way, 8), key, &format!("{megabits}M"));
        let answers = stage.tell(&plan, Duration::from_secs(60)).await?.answers;
        let rates = rates(&answers)?;
        let mean = near(key, rates.get(BURST..).unwrap_or_default(), megabits)?;
        told.push(format!("{mean:.1} of {megabits} Mbit/s {}", if way == Way::Out { "out" } else { "in" }));
    }
    Ok(passed(told.join(", ")))
}

pub(super) async fn changed(stage: &Stage, cast: &Cast) -> Result<Verdict> {
    /// From the start, of which the last part is under the new limit.
    const SECONDS: u32 = 26;
    /// Under the old limit for sure, whatever a kubelet takes to say that the pod runs.
    const OLD: usize = 8;
    /// Under the new limit for sure.
    const NEW: usize = 7;

    if stage.cluster().weft.is_none() {
        return Ok(no_weft());
    }
    let mut told = Vec::new();
    for (way, key) in [(Way::Out, EGRESS), (Way::In, INGRESS)] {
        let plan = plan(stage, question(stage, cast, way, SECONDS), key, "10M");
        stage.pods().create(&plan).await?;
        stage.pods().running(&plan.name).await?;
        tokio::time::sleep(Duration::from_secs(OLD as u64 + 1)).await;
        stage.pods().annotate(&plan.name, key, "30M").await?;
        let answers = stage.pods().told(&plan.name, Duration::from_secs(90)).await?.answers;
        let rates = rates(&answers)?;
        let before = near(&format!("{key} before"), rates.get(BURST..OLD).unwrap_or_default(), 10)?;
        let after = near(&format!("{key} after the change"), &rates[rates.len().saturating_sub(NEW)..], 30)?;
        told.push(format!("{before:.1} then {after:.1} Mbit/s {}", if way == Way::Out { "out" } else { "in" }));
    }
    Ok(passed(format!("10M changed to 30M: {}", told.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_near_or_not() {
        assert!((near("it", &[9000, 9600], 10).unwrap() - 9.3).abs() < 0.01);
        assert!(near("it", &[7000, 7600], 10).is_err());
        assert!(near("it", &[12_500], 10).is_err());
        assert!(near("it", &[], 10).is_err());
    }
}
