//! Who asks, what is asked, and what the answer has to be.

use std::net::{IpAddr, SocketAddr};

use weft_agent::connectivity::{Answer, Question, Seen, Told, Transport, Who};

use super::manifest::PORT;

/// A question and the answer that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Where it goes, in the words of the report.
    pub(super) what: String,
    pub(super) question: Question,
    pub(super) wanted: Wanted,
}

/// What an answer has to be.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// Any answer.
    Any,
    /// None.
    Silence,
    /// These servers, all of them and no other, see this client.
    Servers { names: Vec<String>, client: Client },
    /// One of these servers, the same each time.
    OneOf(Vec<String>),
}

/// Whom a server has to see.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Anybody,
    /// Who asked: nobody translated.
    Asker,
    /// Who asked, or its node for it.
    AskerOrNode,
}

/// Pods of one node that ask.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    /// Number of the node.
    pub(super) at: usize,
    /// Whether it shares the node's network.
    pub(super) host: bool,
    pub(super) checks: Vec<Check>,
}

impl Asking {
    pub(super) fn pod(at: usize, checks: Vec<Check>) -> Self {
        Self { at, host: false, checks }
    }

    pub(super) fn host(at: usize, checks: Vec<Check>) -> Self {
        Self { at, host: true, checks }
    }
}

impl Check {
    /// Asks one server, over TCP and over UDP.
    pub(super) fn server(name: &str, address: IpAddr, port: u16, client: &Client) -> Vec<Self> {
        Self::servers(&[name], SocketAddr::new(address, port), 1, 0, client)
    }

    /// Asks behind what stands for several servers, over TCP and over UDP, until each has answered in all likelihood.
    pub(super) fn service(names: &[&str], address: IpAddr, port: u16, client: &Client) -> Vec<Self> {
        // Two servers and 20 questions: all to the same one happens once in half a million times.
        let times = if names.len() > 1 { 20 } else { 2 };
        Self::servers(names, SocketAddr::new(address, port), times, 20_000, client)
    }

    fn servers(names: &[&str], to: SocketAddr, times: u32, patience_ms: u64, client: &Client) -> Vec<Self> {
        let ask = |over: Transport| {
            let question = Question::Who(Who { to: to.to_string(), over, times, patience_ms });
            let wanted = Wanted::Servers { names: owned(names), client: client.clone() };
            Self { what: format!("{} at {to} over {}", names.join(" and "), over.name()), question, wanted }
        };
        vec![ask(Transport::Tcp), ask(Transport::Udp)]
    }

    /// Asks often, always the same one of these.
    pub(super) fn sticky(names: &[&str], address: IpAddr) -> Vec<Self> {
        let to = SocketAddr::new(address, PORT);
        let ask = |over: Transport| {
            let question = Question::Who(Who { to: to.to_string(), over, times: 20, patience_ms: 20_000 });
            Self { what: format!("{to} over {}", over.name()), question, wanted: Wanted::OneOf(owned(names)) }
        };
        vec![ask(Transport::Tcp), ask(Transport::Udp)]
    }

    /// The same, whomever the servers see.
    pub(super) fn seeing_anybody(self) -> Self {
        let wanted = match self.wanted {
            Wanted::Servers { names, .. } => Wanted::Servers { names, client: Client::Anybody },
            other => other,
        };
        Self { wanted, ..self }
    }

    pub(super) fn any(what: impl Into<String>, question: Question) -> Self {
        Self { what: what.into(), question, wanted: Wanted::Any }
    }

    /// What is wrong with the answer, if anything is.
    pub(super) fn verify(&self, answer: &Answer, told: &Told, node: &[IpAddr]) -> Result<(), String> {
        match (&self.wanted, answer) {
            (Wanted::Silence, Answer::Failed(_)) => Ok(()),
            (Wanted::Silence, _) => Err("somebody answered".to_owned()),
            (_, Answer::Failed(why)) => Err(why.clone()),
            (Wanted::Any, _) => Ok(()),
            (Wanted::Servers { names, client }, Answer::Who(seen)) => {
                by(seen, names, true)?;
                let expected: Vec<IpAddr> = match client {
                    Client::Anybody => return Ok(()),
                    Client::Asker => told.addresses.clone(),
                    Client::AskerOrNode => told.addresses.iter().chain(node).copied().collect(),
                };
                match seen.by.iter().find(|witness| !expected.contains(&witness.client)) {
                    None => Ok(()),
                    Some(witness) => Err(format!("{} saw {}, not {expected:?}", witness.pod, witness.client)),
                }
            }
            (Wanted::OneOf(names), Answer::Who(seen)) => {
                by(seen, names, false)?;
                let mut pods: Vec<_> = seen.by.iter().map(|witness| &witness.pod).collect();
                pods.dedup();
                if pods.len() == 1 { Ok(()) } else { Err(format!("{pods:?} answered, not one of them alone")) }
            }
            (_, other) => Err(format!("the answer is to another question: {other:?}")),
        }
    }
}

/// Whether those and no others have answered; all of them where that is asked for.
fn by(seen: &Seen, names: &[String], all: bool) -> Result<(), String> {
    if let Some(stranger) = seen.by.iter().find(|witness| !names.contains(&witness.pod)) {
        return Err(format!("{} on {} answered", stranger.pod, stranger.node));
    }
    match names.iter().find(|name| !seen.by.iter().any(|witness| witness.pod == **name)) {
        Some(missing) if all => Err(format!("{missing} never answered")),
        _ => Ok(()),
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use weft_agent::connectivity::Witness;

    use super::*;

    fn seen(by: &[(&str, &str)]) -> Answer {
        let witness = |(pod, client): &(&str, &str)| Witness {
            pod: (*pod).to_owned(),
            node: "n".into(),
            client: client.parse().unwrap(),
            times: 1,
        };
        Answer::Who(Seen { by: by.iter().map(witness).collect(), ..Seen::default() })
    }

    fn verify(wanted: Wanted, answer: &Answer) -> Result<(), String> {
        let told = Told { addresses: vec!["10.0.0.9".parse().unwrap()], answers: Vec::new() };
        let question = Question::Who(Who { to: "a:1".into(), over: Transport::Tcp, times: 1, patience_ms: 0 });
        Check { what: "it".into(), question, wanted }.verify(answer, &told, &["192.0.2.1".parse().unwrap()])
    }

    #[test]
    fn servers_and_whom_they_saw_are_held_against_what_was_wanted() {
        let wanted = |names: &[&str], client| Wanted::Servers { names: owned(names), client };
        assert_eq!(verify(wanted(&["a"], Client::Asker), &seen(&[("a", "10.0.0.9")])), Ok(()));
        let translated = verify(wanted(&["a"], Client::Asker), &seen(&[("a", "192.0.2.1")]));
        assert_eq!(translated, Err("a saw 192.0.2.1, not [10.0.0.9]".to_owned()));
        assert_eq!(verify(wanted(&["a"], Client::AskerOrNode), &seen(&[("a", "192.0.2.1")])), Ok(()));
        assert!(verify(wanted(&["a"], Client::AskerOrNode), &seen(&[("a", "192.0.2.2")])).is_err());
        assert!(verify(wanted(&["a", "b"], Client::Anybody), &seen(&[("a", "192.0.2.1")])).is_err(), "b is missing");
        assert!(verify(wanted(&["a"], Client::Anybody), &seen(&[("b", "192.0.2.1")])).is_err(), "a stranger");
        assert!(verify(wanted(&["a"], Client::Anybody), &Answer::Failed("no".into())).is_err());
        assert!(verify(wanted(&["a"], Client::Anybody), &Answer::Finish).is_err());
    }

    #[test]
    fn one_alone_and_none_are_answers_too() {
        let one = || Wanted::OneOf(owned(&["a", "b"]));
        assert_eq!(verify(one(), &seen(&[("b", "10.0.0.9")])), Ok(()));
        assert!(verify(one(), &seen(&[("a", "10.0.0.9"), ("b", "10.0.0.9")])).is_err());
        assert_eq!(verify(Wanted::Silence, &Answer::Failed("nobody".into())), Ok(()));
        assert!(verify(Wanted::Silence, &seen(&[("a", "10.0.0.9")])).is_err());
    }
}
