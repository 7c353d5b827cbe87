//! When the node may be given pods.

use tokio::sync::watch;

/// Says so once: when pods get addresses, and packets find the other nodes. What comes later does not take it back:
/// a node that was ready serves its pods, whatever happens to the API server.
pub(crate) async fn become_ready(
    mut ranged: watch::Receiver<bool>,
    mut led: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
) {
    // A channel that ends without having said so belongs to an agent that stops.
    if ranged.wait_for(|ranged| *ranged).await.is_ok() && led.wait_for(|led| *led).await.is_ok() {
        ready.send_replace(true);
    }
    // Whoever listens takes the channel's end for the agent's.
    std::future::pending::<()>().await;
}
