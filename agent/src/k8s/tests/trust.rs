//! What of a list is believed, and what is made of nodes that are not as they should be.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::server::{Answer, Piece, Server, event, list, node, service, standing};
use super::*;

fn lists(version: &str, items: &[Value]) -> Answer {
    Answer::json(&list("NodeList", version, items))
}

#[test]
fn a_list_without_this_node_takes_no_peer_away() {
    run(async {
        let server = Server::start().await;
        let (standing, open) = Answer::stream(&[]);
        let expired = || Answer::refusal(410, "old");
        server.turns(
            NODES,
            [lists("10", &[node(1, 1), node(2, 1), node(3, 1)]), expired(), lists("2", &[node(4, 1)]), standing],
        );
        let watching = watch_as_n1(&server, None);
        until_peers(&watching, &["n2", "n3", "n4"]).await;
        let problem = watching.view.problems().join(" ");
        assert!(problem.contains("lists 1 nodes and not this one: 3"), "{problem}");
        let own = watching.own.borrow().clone();
        assert_eq!(own.ranges.unwrap().len(), 1, "pods have addresses of it");
        assert!(own.problem.unwrap().contains("node n1 is not among the 1 nodes"));
        // A deletion that is told is believed.
        open.send(Piece::Text(format!("{}\n", event("DELETED", &node(3, 5))))).unwrap();
        until_peers(&watching, &["n2", "n4"]).await;
    });
}

#[test]
fn a_list_that_was_not_believed_is_asked_for_again() {
    run(async {
        let server = Server::start().await;
        let (hanging, _open) = Answer::stream(&[]);
        let (standing, _stays) = Answer::stream(&[]);
        let whole = lists("20", &[node(1, 1), node(3, 1)]);
        let first = lists("10", &[node(1, 1), node(2, 1)]);
        server.turns(NODES, [first, Answer::refusal(410, "old"), lists("2", &[]), hanging, whole, standing]);
        let watching = watch_as_n1(&server, None);
        until("it is not believed", || watching.view.problems().join(" ").contains("lists 0 nodes")).await;
        assert_eq!(peer_names(&watching).unwrap(), ["n2"]);
        until_peers(&watching, &["n3"]).await;
        until("it is watched", || server.asked(NODES).len() == 6).await;
        assert!(watching.view.problems().is_empty(), "{:?}", watching.view.problems());
    });
}

#[test]
fn an_empty_list_of_services_is_not_believed() {
    run(async {
        let server = Server::start().await;
        server.on(NODES, standing("NodeList", &[node(1, 1)]));
        let (hanging, _open) = Answer::stream(&[]);
        let one = Answer::json(&list("ServiceList", "10", &[service("kubernetes", "10.96.0.1")]));
        let none = Answer::json(&json!({"kind": "ServiceList", "metadata": {"resourceVersion": "1"}, "items": null}));
        server.turns("/api/v1/services", [one, Answer::refusal(410, "old"), none, hanging]);
        let watching = watch_as_n1(&server, None);
        until("it is watched", || server.asked("/api/v1/services").len() == 4).await;
        assert!(matches!(&*watching.services.borrow(), Services::Known(known) if known.len() == 1));
    });
}

#[test]
fn a_first_list_without_this_node_is_no_list_of_peers() {
    run(async {
        let server = Server::start().await;
        let (hanging, open) = Answer::stream(&[]);
        server.turns(NODES, [lists("10", &[]), hanging]);
        let watching = watch_as_n1(&server, None);
        until("it is told", || watching.own.borrow().problem.is_some()).await;
        assert!(watching.own.borrow().problem.as_ref().unwrap().contains("set node-name"));
        sleep(Duration::from_millis(50)).await;
        assert_eq!(peer_names(&watching), None, "the kernel keeps what it has");
        open.send(Piece::Text(format!("{}\n{}\n", event("ADDED", &node(2, 11)), event("ADDED", &node(1, 12)))))
            .unwrap();
        until("this node is there", || watching.own.borrow().problem.is_none()).await;
        until_peers(&watching, &["n2"]).await;
    });
}

#[test]
fn a_node_gets_its_range_later_and_keeps_it() {
    run(async {
        let server = Server::start().await;
        let mut bare = node(1, 1);
        bare["spec"] = json!({});
        let mut dual = node(1, 11);
        dual["spec"]["podCIDRs"] = json!(["fd00:1::/64", "10.244.1.0/24"]);
        let mut odd = node(1, 12);
        odd["spec"] = json!({"podCIDR": "10.244.1/24"});
        let (hanging, open) = Answer::stream(&[]);
        server.turns(NODES, [lists("10", &[bare.clone()]), hanging]);
        let watching = watch_as_n1(&server, None);
        until("it is told", || watching.own.borrow().problem.is_some()).await;
        let own = watching.own.borrow().clone();
        assert_eq!(own.ranges, None);
        let problem = own.problem.unwrap();
        assert!(problem.contains("n1 has no podCIDR") && problem.contains("--allocate-node-cidrs"), "{problem}");
        open.send(Piece::Text(format!("{}\n", event("MODIFIED", &dual)))).unwrap();
        until("ranges are there", || watching.own.borrow().problem.is_none()).await;
        let ranges = watching.own.borrow().ranges.clone().unwrap();
        assert_eq!(*ranges, ["10.244.1.0/24", "fd00:1::/64"].map(|text| text.parse::<IpNet>().unwrap()));
        for (change, part) in [
            (event("MODIFIED", &odd), "10.244.1/24"),
            (event("MODIFIED", &bare), "has no podCIDR"),
            (event("DELETED", &bare), "not among"),
        ] {
            open.send(Piece::Text(format!("{change}\n"))).unwrap();
            let has = || watching.own.borrow().problem.as_ref().is_some_and(|problem| problem.contains(part));
            until(part, has).await;
            assert_eq!(watching.own.borrow().ranges.as_ref(), Some(&ranges), "{part}");
        }
    });
}

#[test]
fn nodes_that_are_not_whole_or_contradict_others_take_none_with_them() {
    run(async {
        let server = Server::start().await;
        let (mut bare, mut unreachable, mut twin, mut dual) = (node(3, 1), node(4, 1), node(5, 1), node(6, 1));
        bare["spec"] = json!({});
        unreachable["status"]["addresses"] = json!([{"type": "ExternalIP", "address": "198.51.100.4"}]);
        twin["spec"]["podCIDRs"] = json!(["10.244.2.0/25"]);
        twin["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
        dual["spec"]["podCIDRs"] = json!(["10.244.6.0/24", "fd00:6::/64"]);
        let addresses = ["2001:db8::6", "2001:db8::66", "fe80::6", "192.0.2.6", "192.0.2.66"];
        let addresses = addresses.map(|address| json!({"type": "InternalIP", "address": address}));
        dual["status"]["addresses"] = addresses.to_vec().into();
        server.on(NODES, standing("NodeList", &[node(1, 1), node(2, 1), bare, unreachable, twin, dual]));
        let watching = watch_as_n1(&server, None);
        until_peers(&watching, &["n2", "n3", "n6"]).await;
        let listing = watching.peers.borrow().clone();
        let problem = listing.problem.unwrap();
        assert!(problem.contains("n5 (podCIDR 10.244.2.0/25 overlaps 10.244.2.0/24 of n2)"), "{problem}");
        let peers = &listing.known.as_ref().unwrap().peers;
        assert!(peers[1].pod_cidrs.is_empty());
        assert_eq!(peers[2].pod_cidrs.len(), 2);
        assert_eq!(
            *peers[2].addresses,
            ["192.0.2.6", "2001:db8::6"].map(|text| text.parse::<std::net::IpAddr>().unwrap())
        );
        assert_eq!(watching.view.status().nodes, 6);
    });
}

#[test]
fn ranges_of_the_configuration_win() {
    run(async {
        let server = Server::start().await;
        server.on(NODES, standing("NodeList", &[node(1, 1), node(2, 1), node(3, 1)]));
        let ranges = vec!["10.244.3.0/24".parse().unwrap()];
        let watching = watch_with(&server, None, ranges.clone(), OwnNode::default());
        assert_eq!(watching.own.borrow().ranges.as_deref(), Some(ranges.as_slice()), "before anything is heard");
        until_peers(&watching, &["n2"]).await;
        assert_eq!(watching.own.borrow().ranges.as_deref(), Some(ranges.as_slice()));
        assert!(watching.peers.borrow().problem.as_ref().unwrap().contains("of this node"));
    });
}
