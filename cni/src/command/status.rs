//! STATUS: whether an ADD could be served now.

use crate::api::{PoolStatus, Status};
use crate::command::Call;
use crate::command::failure::Failure;

/// Asks the agent, and the IPAM plugin if there is one.
pub(super) fn status(call: &Call) -> Result<(), Failure> {
    let status: Status = call.client().get("/v1/status", call.deadline).map_err(Failure::NoStatus)?;
    let ready = status.ready || call.conf.ipam.is_some() && lacks_only_addresses(&status);
    if !ready {
        return Err(Failure::NotReady(status.problems));
    }
    call.forward("STATUS")
}

/// With delegated IPAM the agent's pools do not matter. An agent that is unready with an exhausted pool is taken
/// to be unready because of it.
fn lacks_only_addresses(status: &Status) -> bool {
    status.pools.iter().any(is_exhausted)
}

fn is_exhausted(pool: &PoolStatus) -> bool {
    pool.used.saturating_add(pool.resting) >= pool.capacity
}
