//! Settings of which one makes another void: whoever gave both has to choose.

use super::ConfigError;
use super::settings::Settings;

/// Refuses the first pair that does not go together, whatever sources the two came from.
pub(super) fn refuse(settings: &Settings) -> Result<(), ConfigError> {
    let standalone = settings.standalone.unwrap_or(false);
    let network = &settings.network;
    let native = network.routing.as_deref() == Some("native");
    let pairs = [
        (
            standalone && (settings.kubernetes.api_server.is_some() || settings.kubernetes.service_account.is_some()),
            "api-server",
            "standalone = true",
            "a standalone agent asks nobody: leave api-server and service-account out, or set standalone = false",
        ),
        (
            !standalone && network.peers.is_some(),
            "peers",
            "standalone = false",
            "in Kubernetes the other nodes are its Node objects: leave peers out, or set standalone = true",
        ),
        (
            native && network.overlay_port.is_some(),
            "overlay-port",
            "routing = native",
            "there is no overlay then: leave overlay-port out, or set routing = overlay",
        ),
        (
            native && network.vni.is_some(),
            "vni",
            "routing = native",
            "there is no overlay then: leave vni out, or set routing = overlay",
        ),
        (
            !native && network.direct_node_routes.is_some(),
            "direct-node-routes",
            "routing = overlay",
            "only native routing has such routes: leave direct-node-routes out, or set routing = native",
        ),
    ];
    match pairs.into_iter().find(|(contradict, ..)| *contradict) {
        Some((_, first, second, remedy)) => Err(ConfigError::Contradiction { first, second, remedy }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::config::parse;

    #[test]
    fn both_settings_and_the_remedy_are_named() {
        for (args, parts) in [
            (vec!["--standalone", "--api-server=192.0.2.1:6443"], ["api-server and standalone", "leave api-server"]),
            (vec!["--peers=/p"], ["peers and standalone", "leave peers out"]),
            (vec!["--standalone", "--routing=native", "--vni=1"], ["vni and routing", "leave vni out"]),
            (
                vec!["--standalone", "--routing=native", "--overlay-port=4789"],
                ["overlay-port and", "routing = overlay"],
            ),
            (vec!["--standalone", "--direct-node-routes=true"], ["direct-node-routes and", "routing = native"]),
        ] {
            let args = [vec!["weft-agent", "--pod-cidr=10.0.0.0/24"], args].concat();
            let error = parse(args.iter().map(OsString::from)).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{args:?}: {error}");
        }
    }
}
