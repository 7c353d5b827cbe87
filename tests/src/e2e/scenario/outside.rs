//! What pods reach that is no pod.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weft_agent::connectivity::{Answer, Api, Question, Transport, Who};

use super::passed;
use crate::e2e::manifest::{AUTHORITY, PodPlan};
use crate::e2e::report::Verdict;
use crate::e2e::stage::{Cast, Stage};

/// A name that every API server's certificate bears.
const NAME: &str = "kubernetes.default.svc";

const PORT: u16 = 443;

const ASKING: Duration = Duration::from_secs(30);

pub(super) async fn api_server(stage: &Stage, _: &Cast) -> Result<Verdict> {
    let mut told = Vec::new();
    for place in stage.places() {
        let mut questions = Vec::new();
        for address in &stage.cluster().api {
            let address: IpAddr = address.parse().with_context(|| format!("the API server's address {address:?}"))?;
            let to = SocketAddr::new(address, PORT).to_string();
            questions.push(Question::Api(Api { to, name: NAME.to_owned(), authority: AUTHORITY.to_owned() }));
        }
        let plan = PodPlan::client(&stage.name("api"), place, questions);
        for answer in stage.tell(&PodPlan { authority: true, ..plan }, ASKING).await?.answers {
            match answer {
                Answer::Api(status) => told.push(format!("HTTP status {status} on {}", place.name)),
                Answer::Failed(why) => bail!("pod on {}: {why}", place.name),
                other => bail!("the answer is to another question: {other:?}"),
            }
        }
    }
    Ok(passed(format!("TLS by {:?}, {}", stage.cluster().api, told.join(", "))))
}

pub(super) async fn world(stage: &Stage, _: &Cast) -> Result<Verdict> {
    let Some(world) = stage.world else {
        return Ok(Verdict::NotApplicable("no --world ADDRESS:PORT was given".to_owned()));
    };
    for at in 0..stage.places().len() {
        let who = Who { to: world.to_string(), over: Transport::Tcp, times: 1, patience_ms: 0 };
        match stage.answer(at, false, Question::Who(who)).await? {
            Answer::Who(_) => {}
            // It is no server of ours: that it answers at all is what counts.
            Answer::Failed(why) if why.contains("answered") => {}
            other => bail!("pod on {} -> {world}: {other:?}", stage.places()[at].name),
        }
    }
    Ok(passed(format!("{world} answers pods of every node")))
}
