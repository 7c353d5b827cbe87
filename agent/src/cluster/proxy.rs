//! Who translates services beside the agent. It may come later than the agent, and change its mode.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use weft_cni::api::ProxyStatus;

use crate::node::Node;

/// How often it is looked for once it was found.
const ROUND: Duration = Duration::from_secs(30);
/// While nobody is found: kube-proxy is a pod like the agent, and starts when that does.
const SEARCH: Duration = Duration::from_secs(5);

/// Looks for it time and again.
pub(crate) async fn follow_proxy(node: Node, found: watch::Sender<Option<ProxyStatus>>) {
    loop {
        let proxy = node.proxy().await;
        let pause = if matches!(&*proxy.mode, "none" | "unknown") { SEARCH } else { ROUND };
        found.send_if_modified(|before| {
            let changes = before.as_ref() != Some(&proxy);
            if changes && before.as_ref().is_none_or(|before| before.mode != proxy.mode) {
                log::info!("services are translated by {}: {}", proxy.mode, proxy.evidence);
            }
            *before = Some(proxy);
            changes
        });
        sleep(pause).await;
    }
}
