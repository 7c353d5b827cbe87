//! What the agent tells of its connection to the cluster.

use std::cell::RefCell;
use std::time::Instant;

use weft_cni::api::KubernetesStatus;

/// The newest state, for whoever asks.
#[derive(Debug)]
pub(crate) struct View {
    state: RefCell<State>,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Nodes,
    Services,
    Pods,
}

#[derive(Debug)]
struct State {
    api_server: String,
    /// By topic.
    watches: [Link; 3],
    /// By topic.
    counts: [usize; 3],
    /// By topic, a sentence each.
    problems: [Vec<String>; 3],
    /// Why the node's object cannot be changed.
    report: Option<String>,
    /// Since when it is as it is.
    since: Instant,
    /// Whether every watch stood at last look.
    connected: bool,
    /// Whether that was told by the log; not before something is known.
    told: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Link {
    /// Not up yet, and nothing is wrong so far.
    Waiting,
    Up,
    Down(String),
}

impl Default for View {
    fn default() -> Self {
        Self::new(String::new())
    }
}

impl View {
    pub(super) fn new(api_server: String) -> Self {
        let state = State {
            api_server,
            watches: [Link::Waiting, Link::Waiting, Link::Waiting],
            counts: [0; 3],
            problems: [Vec::new(), Vec::new(), Vec::new()],
            report: None,
            since: Instant::now(),
            connected: false,
            told: None,
        };
        Self { state: RefCell::new(state) }
    }

    /// Everything but the unmanaged pods and the conflist, which others know.
    pub(crate) fn status(&self) -> KubernetesStatus {
        let state = self.state.borrow();
        let [nodes, services, pods] = state.counts;
        KubernetesStatus {
            api_server: state.api_server.clone(),
            connected: state.connected,
            since_ms: u64::try_from(state.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            problem: state.failure().map(str::to_owned),
            nodes,
            services,
            pods,
            ..KubernetesStatus::default()
        }
    }

    /// What is wrong, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let state = self.state.borrow();
        let away = state.failure().map(|why| {
            let seconds = state.since.elapsed().as_secs();
            format!("API server {}: not followed for {seconds} s, what was known stays: it {why}", state.api_server)
        });
        let others = state.problems.iter().flatten().chain(&state.report).cloned();
        away.into_iter().chain(others).collect()
    }

    /// A watch stands.
    pub(super) fn up(&self, topic: Topic) {
        self.state.borrow_mut().set(topic, Link::Up);
    }

    /// A watch does not stand, and why: a sentence about the server without its subject.
    pub(super) fn down(&self, topic: Topic, why: String) {
        log::debug!("{topic:?}: {why}");
        self.state.borrow_mut().set(topic, Link::Down(why));
    }

    /// How many there are, and what is wrong with them.
    pub(super) fn found(&self, topic: Topic, count: usize, problems: Vec<String>) {
        let mut state = self.state.borrow_mut();
        state.counts[topic as usize] = count;
        let known = &mut state.problems[topic as usize];
        for new in problems.iter().filter(|problem| !known.contains(problem)) {
            log::warn!("{new}");
        }
        *known = problems;
    }

    /// Why the node's object cannot be changed, or that it can.
    pub(super) fn reported(&self, problem: Option<String>) {
        let mut state = self.state.borrow_mut();
        if let Some(new) = problem.as_ref().filter(|_| state.report.is_none()) {
            log::warn!("{new}");
        }
        state.report = problem;
    }
}

impl State {
    fn set(&mut self, topic: Topic, link: Link) {
        self.watches[topic as usize] = link;
        let connected = self.watches.iter().all(|link| *link == Link::Up);
        if connected != self.connected {
            (self.connected, self.since) = (connected, Instant::now());
        }
        let down = self.failure().is_some();
        // Once for each change: a server that is away for an hour is asked hundreds of times.
        match (self.told, connected, self.failure()) {
            (Some(false) | None, true, _) => log::info!("API server {}: everything is followed", self.api_server),
            (Some(true) | None, _, Some(why)) => {
                log::warn!("API server {}: it {why}; what was known stays", self.api_server);
            }
            _ => return,
        }
        self.told = Some(!down);
    }

    fn failure(&self) -> Option<&str> {
        self.watches.iter().find_map(|link| match link {
            Link::Down(why) => Some(why.as_str()),
            Link::Waiting | Link::Up => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_watch_that_fails_tells_why_and_since_when() {
        let view = View::new("https://192.0.2.1:6443".to_owned());
        assert!(!view.status().connected && view.problems().is_empty(), "nothing is wrong before it was tried");
        for topic in [Topic::Nodes, Topic::Services, Topic::Pods] {
            assert!(!view.status().connected);
            view.up(topic);
        }
        assert!(view.status().connected);
        view.down(Topic::Pods, "cannot be reached".to_owned());
        view.down(Topic::Nodes, "answers 500: sorry".to_owned());
        assert_eq!(view.status().problem.as_deref(), Some("answers 500: sorry"));
        view.up(Topic::Nodes);
        let [problem] = view.problems().try_into().unwrap();
        assert!(problem.contains("https://192.0.2.1:6443") && problem.contains("cannot be reached"), "{problem}");
        view.up(Topic::Pods);
        assert!(view.status().connected && view.problems().is_empty());
        view.found(Topic::Nodes, 3, vec!["n2 is odd".to_owned()]);
        assert_eq!((view.status().nodes, view.problems()), (3, vec!["n2 is odd".to_owned()]));
    }
}
