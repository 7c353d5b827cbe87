//! The operations of the specification's section 2: one file each.

mod add;
mod adopt;
mod check;
mod del;
mod failure;
mod gc;
mod loopback;
mod release;
mod status;
mod version;

use std::ffi::OsString;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::ipam::delegate::Delegate;
use crate::spec::conf::NetConf;
use crate::spec::document::Document;
use crate::spec::env::{Environment, Operation};
use crate::spec::error::ErrorReply;
use crate::spec::version::Version;

use failure::Failure;

/// How long an operation waits for the agent, all requests together.
const AGENT_DEADLINE: Duration = Duration::from_secs(30);
/// How long what remains to be done after a failure may wait for the agent.
const UNDO_DEADLINE: Duration = Duration::from_secs(10);

/// What goes to standard output, and whether the exit code tells success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// JSON, or nothing.
    pub output: Vec<u8>,
    /// Whether the operation succeeded.
    pub success: bool,
}

/// One call of the plugin.
struct Call {
    conf: NetConf,
    environment: Environment,
    /// The configuration as it came, for the delegate.
    configuration: Vec<u8>,
    /// When waiting for the agent ends.
    deadline: Instant,
}

/// Runs the operation that the environment names on the configuration in `input`. `variable` looks a variable of
/// the environment up.
pub fn run(variable: impl Fn(&'static str) -> Option<OsString>, input: impl Read) -> Outcome {
    let environment = Environment::new(variable);
    let document = Document::read(input);
    // An error speaks the configuration's version as soon as that is known to be one of ours.
    let version = document.as_ref().ok().and_then(|document| document.version().ok()).unwrap_or(Version::NEWEST);
    let dispatched = environment
        .operation()
        .map_err(Failure::from)
        .and_then(|operation| dispatch(operation, environment, document?))
        .and_then(|value| value.map(|value| serde_json::to_vec(&value)).transpose().map_err(Failure::Encode));
    match dispatched {
        Ok(output) => Outcome { output: output.unwrap_or_default(), success: true },
        Err(failure) => Outcome { output: encode(&failure.reply(version)), success: false },
    }
}

fn dispatch(operation: Operation, environment: Environment, document: Document) -> Result<Option<Value>, Failure> {
    let run: fn(&Call) -> Result<Option<Value>, Failure> = match operation {
        Operation::Version => return version::version(&document).map(Some),
        Operation::Add => |call| add::add(call).map(Some),
        Operation::Del => |call| del::del(call).map(|()| None),
        Operation::Check => |call| check::check(call).map(|()| None),
        Operation::Gc => |call| gc::gc(call).map(|()| None),
        Operation::Status => |call| status::status(call).map(|()| None),
    };
    let version = document.version()?;
    require(operation, version)?;
    let conf = NetConf::parse(document.object, version)?;
    let deadline = Instant::now() + AGENT_DEADLINE;
    let call = Call { conf, environment, configuration: document.bytes, deadline };
    if operation != Operation::Del {
        // A DEL must go on where ADD refused: nothing is left behind because of a slip.
        call.conf.check_keys()?;
    }
    if call.conf.is_of_type(loopback::TYPE) { loopback::run(operation, &call) } else { run(&call) }
}

/// Each operation came with a version of the specification.
fn require(operation: Operation, version: Version) -> Result<(), Failure> {
    let (name, needs) = match operation {
        Operation::Check => ("CHECK", Version::V0_4_0),
        Operation::Gc => ("GC", Version::V1_1_0),
        Operation::Status => ("STATUS", Version::V1_1_0),
        Operation::Add | Operation::Del | Operation::Version => return Ok(()),
    };
    if version < needs { Err(Failure::TooOldFor { name, needs, version }) } else { Ok(()) }
}

impl Call {
    fn client(&self) -> Client {
        Client::new(&self.conf.agent_socket)
    }

    /// The IPAM plugin, if the configuration names one.
    fn delegate(&self) -> Result<Option<Delegate<'_>>, Failure> {
        let Some(name) = &self.conf.ipam else { return Ok(None) };
        let dirs = self.environment.plugin_path()?;
        Ok(Some(Delegate::find(name, dirs, &self.configuration, self.conf.version)?))
    }

    /// Forwards an operation to the IPAM plugin, if there is one.
    fn forward(&self, operation: &str) -> Result<(), Failure> {
        if let Some(delegate) = self.delegate()? {
            delegate.run(operation)?;
        }
        Ok(())
    }
}

/// An error as text. Writing a struct of strings as JSON cannot fail; if it did, the exit code still tells.
fn encode(reply: &ErrorReply) -> Vec<u8> {
    serde_json::to_vec(reply).unwrap_or_default()
}

#[cfg(test)]
mod tests;
