//! `GET /v1/peers`: every other node, by name.

use weft_cni::api::PeerInfo;

use super::App;

pub(super) fn list<K>(app: &App<K>) -> Vec<PeerInfo> {
    app.network.peers()
}
