//! `GET /v1/flows`: the flows that match.

use std::net::IpAddr;

use weft_cni::api::{ApiError, Flows};

use crate::flow::{Filter, State, protocol};
use crate::kernel::Kernel;

use super::App;
use super::error::not_found;
use super::query::Query;

/// Flows in one answer, unless more are asked for.
pub(super) const LIMIT: usize = 10_000;

/// Which flows are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pods: Vec<Which>,
    filter: Filter,
}

/// How a pod is named.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Address(IpAddr),
    Endpoint(u32),
}

impl Wanted {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let query = Query::parse(query, &["pod", "state", "protocol", "min-age", "max-age", "limit"])?;
        let states = State::ALL.map(State::name).join(", ");
        let which = |value: &str| {
            let address = value.parse().map(Which::Address);
            address.or_else(|_| value.parse().map(Which::Endpoint)).ok()
        };
        Ok(Self {
            pods: query.all("pod", "an address or the number of an endpoint", which)?,
            filter: Filter {
                pods: Vec::new(),
                state: query.one("state", format!("one of {states}"), State::from_name)?,
                protocol: query.one("protocol", "tcp, udp, icmp, icmpv6, sctp or a number", protocol::number)?,
                min_age: query.parsed("min-age", "a number of seconds")?,
                max_age: query.parsed("max-age", "a number of seconds")?,
                limit: query.parsed("limit", "a number of flows")?.unwrap_or(LIMIT),
            },
        })
    }
}

pub(super) async fn list<K: Kernel>(app: &App<K>, wanted: Wanted) -> Result<Flows, ApiError> {
    let Wanted { pods, mut filter } = wanted;
    let endpoints = app.endpoints.list();
    for pod in pods {
        match pod {
            Which::Address(address) => filter.pods.push(address),
            Which::Endpoint(id) => {
                let endpoint = endpoints.iter().find(|endpoint| endpoint.id == id);
                let missing = || not_found(format!("no endpoint {id}: `weft endpoint list` shows them"));
                filter.pods.extend(&endpoint.ok_or_else(missing)?.addresses);
            }
        }
    }
    let mut flows = app.endpoints.kernel().flows(filter, *app.flows.timeouts()).await?;
    let owners: std::collections::HashMap<_, _> = endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (*address, &endpoint.key)))
        .collect();
    for flow in &mut flows.flows {
        flow.endpoint = owners.get(&flow.inside.address).map(|key| (*key).clone());
    }
    Ok(flows)
}
