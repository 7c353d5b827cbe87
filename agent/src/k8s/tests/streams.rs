//! Lists in pages, watches, and where they go on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::server::{Answer, Asked, Piece, Server, event, list, node, service, standing};
use super::*;

fn bookmark(version: &str) -> Value {
    event("BOOKMARK", &json!({"kind": "Node", "apiVersion": "v1", "metadata": {"resourceVersion": version}}))
}

fn gone() -> Value {
    event("ERROR", &json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "old"}))
}

fn nodes(version: &str, numbers: &[u8]) -> Answer {
    Answer::json(&list("NodeList", version, &numbers.iter().map(|number| node(*number, 1)).collect::<Vec<_>>()))
}

#[test]
fn a_list_comes_in_pages_and_counts_when_it_is_whole() {
    run(async {
        let server = Server::start().await;
        let page = |token: &str, number| {
            let mut page = list("NodeList", "7", &[node(number, 1)]);
            page["metadata"]["continue"] = token.into();
            Answer::json(&page)
        };
        let (standing, _open) = Answer::stream(&[]);
        server.turns(NODES, [page("a+b", 2), page("c", 1), page("", 3).after(Duration::from_millis(200)), standing]);
        let watching = watch_as_n1(&server, None);
        until("three pages are asked for", || server.asked(NODES).len() == 3).await;
        assert_eq!(peer_names(&watching), None, "half a list is none");
        until_peers(&watching, &["n2", "n3"]).await;
        until("it is watched", || server.asked(NODES).len() == 4).await;
        let paths: Vec<_> = server.asked(NODES).into_iter().map(|asked| asked.path).collect();
        assert!(paths[0].contains("limit=250") && !paths[0].contains("continue"), "{}", paths[0]);
        assert!(paths[1].contains("continue=a%2Bb") && paths[2].contains("continue=c"), "{paths:?}");
        assert!(
            paths[3].contains("resourceVersion=7") && paths[3].contains("allowWatchBookmarks=true"),
            "{}",
            paths[3]
        );
        assert!(paths[3].contains("timeoutSeconds=280"), "{}", paths[3]);
        assert!(server.asked("/api/v1/pods")[0].path.contains("spec.nodeName%3Dn1"));
        until("everything is followed", || watching.view.status().connected).await;
        let own = watching.own.borrow().clone();
        assert_eq!((own.ranges.unwrap().len(), own.problem), (1, None));
        assert_eq!(own.addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        assert!(matches!(&*watching.services.borrow(), Services::Known(services) if services.len() == 1));
    });
}

#[test]
fn a_watch_goes_on_where_the_last_bookmark_was() {
    run(async {
        let server = Server::start().await;
        let (standing, _open) = Answer::stream(&[]);
        let first = Answer::events(&[event("ADDED", &node(3, 11)), bookmark("77")]);
        server.turns(NODES, [nodes("10", &[1, 2]), first, standing]);
        let watching = watch_as_n1(&server, None);
        until("it is watched again", || server.asked(NODES).len() == 3).await;
        assert!(server.asked(NODES)[2].path.contains("resourceVersion=77"));
        until_peers(&watching, &["n2", "n3"]).await;
        assert!(watching.view.problems().is_empty());
    });
}

#[test]
fn what_the_server_forgot_is_listed_again_and_nothing_is_lost() {
    run(async {
        let server = Server::start().await;
        let (standing, _open) = Answer::stream(&[]);
        server.turns(
            NODES,
            [
                nodes("10", &[1, 2, 3]),
                Answer::events(&[gone()]),
                nodes("20", &[1, 2, 4]).after(Duration::from_millis(300)),
                Answer::refusal(410, "too old resource version"),
                nodes("30", &[1, 2, 4, 5]),
                standing,
            ],
        );
        let watching = watch_as_n1(&server, None);
        until("it is listed again", || server.asked(NODES).len() == 3).await;
        assert_eq!(peer_names(&watching).unwrap(), ["n2", "n3"]);
        until_peers(&watching, &["n2", "n4", "n5"]).await;
        let lists: Vec<_> = server.asked(NODES).iter().map(|asked| !asked.watches()).collect();
        assert_eq!(lists[..5], [true, false, true, false, true]);
        assert!(watching.view.problems().is_empty(), "{:?}", watching.view.problems());
    });
}

#[test]
fn garbage_changes_nothing_and_is_told() {
    run(async {
        let server = Server::start().await;
        let html = || Answer::of(200, "<html>Sign in</html>");
        let (standing, _open) = Answer::stream(&[]);
        let half = nodes("20", &[1]).text;
        let half = Answer::of(200, &half[..half.len() / 2]);
        let services = Answer::json(&list("NodeList", "20", &[service("kubernetes", "10.96.0.1")]));
        let (healthy, open) = Answer::stream(&[]);
        server.turns(
            NODES,
            [
                nodes("10", &[1, 2]),
                Answer::events(&[event("DELETED", &service("n2", "10.96.0.9"))]),
                html(),
                half,
                services,
                Answer::of(502, "<html>Bad Gateway</html>"),
                nodes("30", &[1, 2]),
                healthy,
                html(),
                standing,
            ],
        );
        let mut watching = watch_as_n1(&server, None);
        until_peers(&watching, &["n2"]).await;
        watching.peers.borrow_and_update();
        let mut told = Vec::new();
        until("it was well again", || {
            told.extend(watching.view.status().problem);
            server.asked(NODES).len() == 8
        })
        .await;
        told.dedup();
        let parts = ["an object cannot be read", "does: expected value", "EOF while", "\"Service\" where Node", "502"];
        for part in parts {
            assert!(told.iter().any(|problem| problem.contains(part)), "{part}: {told:?}");
        }
        let watches: Vec<_> = server.asked(NODES).iter().map(Asked::watches).collect();
        assert_eq!(watches, [false, true, false, false, false, false, false, true], "listed until one can be read");
        until("everything is followed", || watching.view.status().connected).await;
        assert!(!watching.peers.has_changed().unwrap(), "nobody heard of it");
        drop(open);
    });
}

#[test]
fn half_an_event_is_none_and_comes_again() {
    run(async {
        let server = Server::start().await;
        let (standing, _open) = Answer::stream(&[]);
        let cut = event("ADDED", &node(4, 12)).to_string();
        let cut = format!("{}\n{}", event("ADDED", &node(3, 11)), &cut[..cut.len() / 2]);
        let (broken, breaking) = Answer::stream(&[event("ADDED", &node(4, 12))]);
        server.turns(NODES, [nodes("10", &[1, 2]), Answer::of(200, cut), broken, standing]);
        let watching = watch_as_n1(&server, None);
        until("it is watched again", || server.asked(NODES).len() == 3).await;
        assert!(server.asked(NODES)[2].path.contains("resourceVersion=11"), "after the last whole event");
        until_peers(&watching, &["n2", "n3", "n4"]).await;
        breaking.send(Piece::Break).unwrap();
        until("it is watched once more", || server.asked(NODES).len() == 4).await;
        assert!(server.asked(NODES)[3].path.contains("resourceVersion=12"));
    });
}

#[test]
fn a_slow_server_is_waited_for() {
    run(async {
        let server = Server::start().await;
        let (standing, _open) = Answer::stream(&[]);
        let slow = |answer: Answer| answer.after(Duration::from_secs(2));
        server.turns(NODES, [slow(nodes("10", &[1, 2])), slow(standing)]);
        let watching = watch_as_n1(&server, None);
        until_peers(&watching, &["n2"]).await;
        assert!(!watching.view.status().connected && watching.view.problems().is_empty());
        until("everything is followed", || watching.view.status().connected).await;
        assert_eq!(server.asked(NODES).len(), 2, "nothing was asked twice");
    });
}

#[test]
fn heartbeats_notify_nobody() {
    run(async {
        let server = Server::start().await;
        let (standing, open) = Answer::stream(&[]);
        server.turns(NODES, [nodes("10", &[1, 2]), standing]);
        let mut watching = watch_as_n1(&server, None);
        until_peers(&watching, &["n2"]).await;
        watching.peers.borrow_and_update();
        watching.own.borrow_and_update();
        for beat in 0..500 {
            let beat = event("MODIFIED", &node(1 + u8::try_from(beat % 2).unwrap(), 11 + beat));
            open.send(Piece::Text(format!("{beat}\n"))).unwrap();
        }
        sleep(Duration::from_millis(300)).await;
        assert!(!watching.peers.has_changed().unwrap() && !watching.own.has_changed().unwrap());
        open.send(Piece::Text(format!("{}\n", event("ADDED", &node(3, 600))))).unwrap();
        until_peers(&watching, &["n2", "n3"]).await;
        open.send(Piece::Text(format!("{}\n", event("DELETED", &node(2, 601))))).unwrap();
        until_peers(&watching, &["n3"]).await;
        assert!(!watching.own.has_changed().unwrap());
    });
}

#[test]
fn a_server_that_is_away_takes_nothing_with_it() {
    run(async {
        let server = Server::start().await;
        server.on(NODES, standing("NodeList", &[node(1, 1), node(2, 1)]));
        let cached = OwnNode { ranges: Some(vec!["10.9.0.0/24".parse().unwrap()].into()), ..OwnNode::default() };
        let mut away = server.clone();
        away.address = "127.0.0.1:1".parse().unwrap();
        let watching = watch_with(&away, None, Vec::new(), cached);
        until("it is told", || watching.view.status().problem.is_some()).await;
        let problem = watching.view.problems().join(" ");
        assert!(problem.contains("http://127.0.0.1:1") && problem.contains("refused"), "{problem}");
        assert_eq!(peer_names(&watching), None);
        assert_eq!(watching.own.borrow().ranges.as_deref().unwrap().len(), 1, "from the last run");
    });
}

#[test]
fn a_server_that_ends_every_watch_is_not_asked_without_pause() {
    run(async {
        let server = Server::start().await;
        let mut lists = standing("NodeList", &[node(1, 1), node(2, 1)]);
        server.on(NODES, move |asked| if asked.watches() { Some(Answer::events(&[])) } else { lists(asked) });
        let watching = watch_as_n1(&server, None);
        until_peers(&watching, &["n2"]).await;
        sleep(Duration::from_secs(2)).await;
        // The list, and watches after 0, 0.1, 0.3, 0.7 and 1.5 s or up to twice as many.
        let asked = server.asked(NODES).len();
        assert!((5..=11).contains(&asked), "{asked}");
    });
}

#[test]
fn a_server_that_forgets_everything_is_told_of() {
    run(async {
        let server = Server::start().await;
        server.on(NODES, |_| Some(Answer::refusal(410, "too old")));
        let watching = watch_as_n1(&server, None);
        until("it is told", || watching.view.status().problem.is_some()).await;
        assert!(watching.view.problems().join(" ").contains("answers 410: too old"));
    });
}
