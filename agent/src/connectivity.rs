//! What `weft connectivity ask` can be asked, and what it answers: the words of the tests on real clusters.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What fits into a container's termination message, in bytes: the answers of one `ask` have to.
pub const MESSAGE_BYTES: usize = 4096;

/// One question. Its JSON has one key, the kind of question: `{"who": {"to": "10.244.0.2:8080"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Who answers there, and whom it saw asking.
    Who(Who),
    /// Whether datagrams of these sizes come back whole.
    Echo(Echo),
    /// Whether that many bytes arrive whole, both ways.
    Transfer(Transfer),
    /// Talks without a pause until the server has been told to finish.
    Stream(Stream),
    /// How fast bytes flow, second by second.
    Rate(Rate),
    /// Tells a server that its streams are to end.
    Finish(Finish),
    /// Which addresses a name has.
    Resolve(Resolve),
    /// Whether a TLS server answers HTTP.
    Api(Api),
    /// What the agent of this node says of itself.
    Agent(Agent),
}

/// The transport of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A connection.
    #[default]
    Tcp,
    /// A datagram and its answer.
    Udp,
}

impl Transport {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// See [`Question::Who`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Who {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub to: String,
    /// The transport.
    #[serde(default)]
    pub over: Transport,
    /// How often, each time from a new port.
    #[serde(default = "once")]
    pub times: u32,
    /// For how long failures before the first answer are forgiven, in milliseconds.
    #[serde(default)]
    pub patience_ms: u64,
}

fn once() -> u32 {
    1
}

/// See [`Question::Echo`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Echo {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub to: String,
    /// Bytes of payload; 0 stands for what fills one packet of eth0's MTU.
    pub sizes: Vec<u16>,
}

/// See [`Question::Transfer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transfer {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub to: String,
    /// How many each way.
    pub bytes: u64,
}

/// See [`Question::Stream`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stream {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub to: String,
    /// Ends by itself, and badly, after so many seconds.
    pub seconds: u32,
}

/// See [`Question::Rate`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub to: String,
    /// Which way.
    pub way: Way,
    /// For how long.
    pub seconds: u32,
}

/// Seen from who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It sends.
    Out,
    /// It is sent.
    In,
}

/// See [`Question::Finish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finish {
    /// `ADDRESS:PORT` or `NAME:PORT`.
    pub to: String,
}

/// See [`Question::Resolve`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resolve {
    /// As the search list of /etc/resolv.conf completes it, or whole with a dot behind.
    pub name: String,
    /// The transport.
    #[serde(default)]
    pub over: Transport,
    /// Whether IPv6 addresses are asked for, not IPv4 ones.
    #[serde(default)]
    pub ipv6: bool,
    /// For how long failures are forgiven, in milliseconds.
    #[serde(default)]
    pub patience_ms: u64,
}

/// See [`Question::Api`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Api {
    /// `ADDRESS:PORT`.
    pub to: String,
    /// The name that its certificate bears.
    pub name: String,
    /// File with the authority's certificate, PEM.
    pub authority: String,
}

/// See [`Question::Agent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// The agent's run directory.
    pub run_dir: String,
}

/// All that one `ask` has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Addresses of who asked, where they are known.
    pub addresses: Vec<IpAddr>,
    /// To each question, in their order.
    pub answers: Vec<Answer>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::Who`].
    Who(Seen),
    /// To [`Question::Echo`]: bytes of payload that came back whole.
    Echo(Vec<u16>),
    /// To [`Question::Transfer`].
    Transfer(Transferred),
    /// To [`Question::Stream`].
    Stream(Streamed),
    /// To [`Question::Rate`]: kilobits of payload that arrived in each whole second.
    Rate(Vec<u64>),
    /// To [`Question::Finish`].
    Finish,
    /// To [`Question::Resolve`].
    Resolve(Vec<IpAddr>),
    /// To [`Question::Api`]: the HTTP status.
    Api(u16),
    /// To [`Question::Agent`].
    Agent(AgentState),
    /// None: why not, one sentence.
    Failed(String),
}

/// Who was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Each server, in each role, once.
    pub by: Vec<Witness>,
    /// Attempts up to the first answer.
    pub tries: u32,
    /// From the start of the process to the first answer, in milliseconds.
    pub start_to_answer_ms: u64,
    /// The longest that an answer took, in milliseconds.
    pub slowest_ms: u64,
}

/// What a server says of itself and of whom it sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// Its pod.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Whom it sees asking.
    pub client: IpAddr,
    /// How often that was so.
    #[serde(default = "once")]
    pub times: u32,
}

/// Bytes that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transferred {
    /// How long sending took, in milliseconds.
    pub out_ms: u64,
    /// How long receiving took, in milliseconds.
    pub in_ms: u64,
}

/// A connection and datagrams that went on for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Streamed {
    /// Messages over the connection, each answered.
    pub messages: u64,
    /// The longest that an answer took, in milliseconds.
    pub longest_ms: u64,
    /// Datagrams.
    pub datagrams: u64,
    /// Those that nobody answered.
    pub lost: u64,
}

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentState {
    /// Whether it serves.
    pub ready: bool,
    /// Pods with a record.
    pub endpoints: usize,
    /// Addresses that are leased.
    pub leased: u64,
    /// Other nodes.
    pub peers: usize,
    /// kube-proxy's mode, where it is known.
    pub proxy: Option<String>,
    /// Sentences.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_short_json() {
        let short: Question = serde_json::from_str(r#"{"who": {"to": "10.244.0.2:8080"}}"#).unwrap();
        let to = "10.244.0.2:8080".to_owned();
        assert_eq!(short, Question::Who(Who { to, over: Transport::Tcp, times: 1, patience_ms: 0 }));
        assert!(serde_json::from_str::<Question>(r#"{"who": {"to": "a:1", "tmies": 3}}"#).is_err());
        assert_eq!(serde_json::to_string(&Answer::Finish).unwrap(), r#""finish""#);
        assert_eq!(serde_json::to_string(&Answer::Failed("no".into())).unwrap(), r#"{"failed":"no"}"#);
    }
}
