//! GC: removes every attachment of the network that the runtime does not list.

use crate::api::{GcReply, GcRequest};
use crate::command::Call;
use crate::command::failure::Failure;

/// Goes to the end whatever fails.
pub(super) fn gc(call: &Call) -> Result<(), Failure> {
    let valid = call.conf.valid_attachments()?;
    let request = GcRequest { network: call.conf.name.clone(), valid };
    let collected = match call.client().post::<GcReply>("/v1/gc", &request, call.deadline) {
        Ok(reply) if reply.errors.is_empty() => Ok(()),
        Ok(reply) => Err(Failure::GcIncomplete(reply.errors)),
        Err(error) => Err(error.into()),
    };
    let forwarded = call.forward("GC");
    Failure::gather(collected.err().into_iter().chain(forwarded.err()))
}
