//! What the node's object is told, and by which patches.

use serde_json::{Value, json};
use tokio::time::sleep;

use super::server::{Answer, Asked, Piece, Server, event, list, node};
use super::*;

fn tainted(version: u32) -> Value {
    let mut node = node(1, version);
    node["spec"]["taints"] = json!([
        {"key": "weft.dev/agent-not-ready", "effect": "NoSchedule"},
        {"key": "team", "value": "a", "effect": "NoSchedule"},
        {"key": "weft.dev/agent-not-ready", "effect": "NoExecute"},
    ]);
    node
}

fn available(version: u32) -> Value {
    let mut node = node(1, version);
    node["status"]["conditions"] = json!([
        {"type": "Ready", "status": "True"},
        {"type": "NetworkUnavailable", "status": "False", "reason": "WeftIsUp"},
    ]);
    node
}

fn patches(server: &Server) -> Vec<Asked> {
    server.asked("/api/v1/nodes/n1").into_iter().filter(|asked| asked.method == "PATCH").collect()
}

#[test]
fn a_ready_node_loses_its_taint_and_gets_its_condition() {
    run(async {
        let server = Server::start().await;
        let (hanging, open) = Answer::stream(&[]);
        let (mut answers, mut refuse) = (vec![hanging, Answer::json(&list("NodeList", "10", &[tainted(1)]))], true);
        server.on(NODES, move |asked| match asked.method.as_str() {
            "PATCH" if std::mem::take(&mut refuse) => Some(Answer::refusal(403, "nodes/status is forbidden")),
            "PATCH" => Some(Answer::json(&node(1, 11))),
            _ => answers.pop(),
        });
        let (ready, readiness) = watch::channel(false);
        let Watching { report, view, task, own, .. } = {
            let config = KubernetesConfig {
                api_server: format!("http://{}", server.address).parse().unwrap(),
                service_account: "/nowhere".into(),
            };
            start(Start { config, node_name: "n1".to_owned(), pod_cidrs: Vec::new(), cached: OwnNode::default() })
        };
        spawn_local(task);
        spawn_local(report.run(readiness));
        until("it is listed", || own.borrow().ranges.is_some()).await;
        sleep(Duration::from_millis(100)).await;
        assert!(patches(&server).is_empty(), "not before it is ready");
        ready.send_replace(true);
        until("it is told", || view.problems().iter().any(|problem| problem.contains("nodes/status"))).await;
        until("three patches", || patches(&server).len() == 3).await;
        let [_, condition, taints] = patches(&server).try_into().unwrap();
        assert!(condition.path.starts_with("/api/v1/nodes/n1/status?&fieldManager=weft"), "{}", condition.path);
        assert_eq!(condition.media_type, "application/strategic-merge-patch+json");
        let condition = &condition.body["status"]["conditions"][0];
        assert_eq!((&condition["type"], &condition["status"]), (&json!("NetworkUnavailable"), &json!("False")));
        assert_eq!(condition["reason"], json!("WeftIsUp"));
        let time = condition["lastTransitionTime"].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z') && time.contains('T'), "{time}");
        assert_eq!(
            (taints.path.as_str(), taints.media_type.as_str()),
            ("/api/v1/nodes/n1?&fieldManager=weft", "application/json-patch+json",)
        );
        assert_eq!(
            taints.body,
            json!([
                {"op": "test", "path": "/spec/taints/2/key", "value": "weft.dev/agent-not-ready"},
                {"op": "remove", "path": "/spec/taints/2"},
                {"op": "test", "path": "/spec/taints/0/key", "value": "weft.dev/agent-not-ready"},
                {"op": "remove", "path": "/spec/taints/0"},
            ])
        );
        // The watch tells that it is done, and later that somebody undid it.
        open.send(Piece::Text(format!("{}\n", event("MODIFIED", &available(12))))).unwrap();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(patches(&server).len(), 3, "nothing is left to do");
        assert!(view.problems().is_empty());
        open.send(Piece::Text(format!("{}\n", event("MODIFIED", &node(1, 13))))).unwrap();
        until("it is put right", || patches(&server).len() == 4).await;
    });
}

#[test]
fn what_is_withdrawn_is_ours() {
    run(async {
        for (node, gone) in [(Some(available(1)), true), (Some(tainted(1)), false), (None, false)] {
            let server = Server::start().await;
            let mut other = available(1);
            other["status"]["conditions"][1]["reason"] = json!("RouteCreated");
            for (node, gone) in [(node.clone(), gone), (node.map(|_| other), false)] {
                let before = patches(&server).len();
                server.on(NODES, move |asked| match (asked.method.as_str(), &node) {
                    ("GET", Some(node)) => Some(Answer::json(node)),
                    ("GET", None) => Some(Answer::refusal(404, "nodes \"n1\" not found")),
                    _ => Some(Answer::json(&available(2))),
                });
                let api_server = format!("http://{}", server.address).parse().unwrap();
                let config = KubernetesConfig { api_server, service_account: "/nowhere".into() };
                withdraw(&config, "n1").await.unwrap();
                let patches = patches(&server);
                assert_eq!(patches.len() - before, usize::from(gone));
                if gone {
                    let body = json!({"status": {"conditions": [{"$patch": "delete", "type": "NetworkUnavailable"}]}});
                    assert_eq!(patches[before].body, body);
                }
            }
        }
    });
}

#[test]
fn a_patch_that_was_overtaken_is_no_problem() {
    run(async {
        let server = Server::start().await;
        let (hanging, open) = Answer::stream(&[]);
        let mut listed = available(1);
        listed["spec"]["taints"] = tainted(1)["spec"]["taints"].clone();
        let mut answers = vec![hanging, Answer::json(&list("NodeList", "10", &[listed]))];
        server.on(NODES, move |asked| match asked.method.as_str() {
            "PATCH" => Some(Answer::refusal(422, "the test failed: /spec/taints/2/key")),
            _ => answers.pop(),
        });
        let watching = watch_as_n1(&server, None);
        let view = Rc::clone(&watching.view);
        let (_ready, readiness) = watch::channel(true);
        spawn_local(watching.report.run(readiness));
        until("it was tried again", || patches(&server).len() == 3).await;
        assert!(view.problems().is_empty(), "{:?}", view.problems());
        open.send(Piece::Text(format!("{}\n", event("MODIFIED", &available(12))))).unwrap();
        sleep(Duration::from_millis(500)).await;
        let tried = patches(&server).len();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(patches(&server).len(), tried, "somebody else has done it");
    });
}
