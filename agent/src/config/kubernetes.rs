//! Settings of the cluster: as given, and checked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper::Uri;
use serde::Deserialize;

use super::{ConfigError, KubernetesConfig, paths};

/// Where kubelets mount the account of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const HTTPS_PORT: u16 = 443;

/// Settings as they were given, by whichever way.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct KubernetesSettings {
    /// Where the API server is asked, as https://HOST:PORT [default: `KUBERNETES_SERVICE_HOST` and _PORT]
    #[arg(long, value_name = "URL", env = "WEFT_API_SERVER", global = true)]
    pub(super) api_server: Option<String>,
    /// Directory with token and ca.crt [default: /var/run/secrets/kubernetes.io/serviceaccount]
    #[arg(long, value_name = "DIR", env = "WEFT_SERVICE_ACCOUNT", global = true)]
    pub(super) service_account: Option<PathBuf>,
}

impl KubernetesSettings {
    /// These settings, and for what they leave open the `other` ones.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            api_server: self.api_server.or(other.api_server),
            service_account: self.service_account.or(other.service_account),
        }
    }

    /// The cluster, where somebody says where it is.
    pub(super) fn into_config(self) -> Result<Option<KubernetesConfig>, ConfigError> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let api_server = match self.api_server {
            Some(text) => api_server(&text).ok_or(ConfigError::ApiServer { field: "api-server", text })?,
            None => match variable("KUBERNETES_SERVICE_HOST") {
                Some(host) => in_cluster(&host, variable("KUBERNETES_SERVICE_PORT").as_deref())?,
                None => return Ok(None),
            },
        };
        let service_account = self.service_account.as_deref().unwrap_or(Path::new(SERVICE_ACCOUNT));
        Ok(Some(KubernetesConfig { api_server, service_account: paths::absolute("service-account", service_account)? }))
    }
}

/// As kubelets tell it to every pod: a bare address, also of IPv6, and a port.
fn in_cluster(host: &str, port: Option<&str>) -> Result<Uri, ConfigError> {
    let bracketed = match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    };
    let port = port.map_or(Ok(HTTPS_PORT), str::parse::<u16>);
    let uri = port.ok().and_then(|port| api_server(&format!("https://{bracketed}:{port}")));
    uri.ok_or_else(|| ConfigError::ApiServer { field: "KUBERNETES_SERVICE_HOST", text: host.to_owned() })
}

fn api_server(text: &str) -> Option<Uri> {
    let text = text.trim().trim_end_matches('/');
    let uri: Uri = match text.split_once("://") {
        Some(("https" | "http", _)) => text.parse().ok()?,
        Some(_) => return None,
        None => {
            let uri: Uri = format!("https://{text}").parse().ok()?;
            // A bare name is more likely a slip than a server at 443.
            uri.port_u16()?;
            uri
        }
    };
    let plain = uri.query().is_none() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let port = uri.authority()?.as_str().rsplit_once("]").map_or(uri.authority()?.as_str(), |(_, behind)| behind);
    let port = port.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0));
    (plain && port && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_is_a_url_or_host_and_port() {
        for (text, meant) in [
            ("https://192.0.2.1:6443", "https://192.0.2.1:6443/"),
            ("https://api.example/", "https://api.example/"),
            ("https://api.example/k8s/clusters/c-1/", "https://api.example/k8s/clusters/c-1"),
            ("192.0.2.1:6443", "https://192.0.2.1:6443/"),
            ("[2001:db8::1]:6443", "https://[2001:db8::1]:6443/"),
            (" api.example:6443\n", "https://api.example:6443/"),
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001/"),
        ] {
            assert_eq!(api_server(text).map(|uri| uri.to_string()).as_deref(), Some(meant), "{text}");
        }
        for text in [
            "",
            "https://",
            "api.example",
            "192.0.2.1",
            "2001:db8::1",
            "ftp://api.example:21",
            "https://me@api.example",
            "https://api.example:0",
            "https://api.example:70000",
            "https://api.example?a=b",
            "/run/api.sock",
        ] {
            assert_eq!(api_server(text), None, "{text}");
        }
    }

    #[test]
    fn what_kubelets_tell_has_either_family() {
        let uri = |host, port| in_cluster(host, port).map(|uri| uri.to_string()).map_err(|error| error.to_string());
        assert_eq!(uri("10.96.0.1", Some("443")).unwrap(), "https://10.96.0.1:443/");
        assert_eq!(uri("fd00::1", None).unwrap(), "https://[fd00::1]:443/");
        assert_eq!(uri("control-plane", Some("6443")).unwrap(), "https://control-plane:6443/");
        for (host, port) in [("a b", None), ("10.96.0.1", Some("https")), ("10.96.0.1", Some("0"))] {
            let error = uri(host, port).unwrap_err();
            assert!(error.contains("KUBERNETES_SERVICE_HOST") && error.contains(host), "{error}");
        }
    }
}
