//! DEL: removes an attachment and everything that is left of it.

use crate::command::Call;
use crate::command::failure::Failure;
use crate::command::release::release;

/// Goes to the end whatever fails, and succeeds when there is nothing left to remove. Neither the namespace nor
/// the previous result is needed: the agent's record and the host end's name follow from the key.
pub(super) fn del(call: &Call) -> Result<(), Failure> {
    let key = call.environment.attachment()?;
    let released = release(&mut call.client(), &key, call.deadline);
    // After ours: an address is free only when no interface has it any more.
    let forwarded = call.forward("DEL");
    Failure::gather(released.err().into_iter().chain(forwarded.err()))
}
