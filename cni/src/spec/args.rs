//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`.

use std::net::IpAddr;

use crate::api::PodRef;
use crate::mac::Mac;
use crate::spec::address::{ParseAddressError, RequestedAddress};

/// What the arguments ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    /// `IP`: addresses, separated by commas.
    pub(crate) ips: Vec<IpAddr>,
    /// `MAC`.
    pub(crate) mac: Option<Mac>,
    /// `K8S_POD_NAMESPACE`, `K8S_POD_NAME` and `K8S_POD_UID`.
    pub(crate) pod: Option<PodRef>,
}

/// An argument is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgsError {
    #[error("CNI_ARGS: {0:?} is no pair: write KEY=VALUE")]
    Pair(String),
    #[error("CNI_ARGS: unknown key {0:?}: leave it out or set IgnoreUnknown=1")]
    Unknown(String),
    #[error("CNI_ARGS: IP: {0}")]
    Ip(#[from] ParseAddressError),
    #[error("CNI_ARGS: MAC: {0:?} is not a unicast MAC address: write six bytes as 02:00:5e:10:00:01")]
    Mac(String),
    #[error("CNI_ARGS: IgnoreUnknown is {0:?}: write 1, 0, true or false")]
    IgnoreUnknown(String),
}

impl Args {
    /// Reads the variable's value.
    pub(crate) fn parse(text: &str) -> Result<Self, ArgsError> {
        let mut args = Self::default();
        let mut pod = PodRef::default();
        let mut unknown = None;
        let mut ignore_unknown = false;
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| ArgsError::Pair(pair.to_owned()))?;
            match key {
                "IP" => args.ips = addresses(value)?,
                "MAC" => args.mac = Some(mac(value)?),
                "IgnoreUnknown" => ignore_unknown = flag(value)?,
                "K8S_POD_NAMESPACE" => value.clone_into(&mut pod.namespace),
                "K8S_POD_NAME" => value.clone_into(&mut pod.name),
                "K8S_POD_UID" => pod.uid = Some(value.to_owned()).filter(|uid| !uid.is_empty()),
                // The container's id is CNI_CONTAINERID; runtimes repeat it here.
                "K8S_POD_INFRA_CONTAINER_ID" => {}
                _ => unknown = unknown.or(Some(key)),
            }
        }
        if let Some(key) = unknown.filter(|_| !ignore_unknown) {
            return Err(ArgsError::Unknown(key.to_owned()));
        }
        args.pod = Some(pod).filter(|pod| !pod.namespace.is_empty() && !pod.name.is_empty());
        Ok(args)
    }
}

fn addresses(value: &str) -> Result<Vec<IpAddr>, ArgsError> {
    let address = |text: &str| Ok(text.trim().parse::<RequestedAddress>()?.0);
    if value.is_empty() { Ok(Vec::new()) } else { value.split(',').map(address).collect() }
}

fn mac(value: &str) -> Result<Mac, ArgsError> {
    value.parse().ok().filter(|mac: &Mac| mac.is_unicast()).ok_or_else(|| ArgsError::Mac(value.to_owned()))
}

fn flag(value: &str) -> Result<bool, ArgsError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(ArgsError::IgnoreUnknown(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_kubelet_sends_is_read() {
        let args = Args::parse(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2;X=y",
        )
        .unwrap();
        let pod = PodRef { namespace: "default".into(), name: "web-0".into(), uid: Some("1-2".into()) };
        assert_eq!(args, Args { pod: Some(pod), ..Args::default() });
    }

    #[test]
    fn addresses_may_have_prefixes_and_company() {
        let args = Args::parse("IP=10.1.2.3/24,fd00::3;MAC=02:00:5e:10:00:01").unwrap();
        assert_eq!(args.ips, ["10.1.2.3".parse::<IpAddr>().unwrap(), "fd00::3".parse().unwrap()]);
        assert_eq!(args.mac, Some(Mac([2, 0, 0x5e, 0x10, 0, 1])));
    }

    #[test]
    fn every_error_names_variable_and_key() {
        for (text, key) in [
            ("IP=10.1.2", "IP"),
            ("IP=10.1.2.3,", "IP"),
            ("MAC=01:00:5e:00:00:01", "MAC"),
            ("MAC=zz", "MAC"),
            ("IgnoreUnknown=yes", "IgnoreUnknown"),
            ("FOO=1", "FOO"),
            ("IgnoreUnknown=0;FOO=1", "FOO"),
            ("ip=10.1.2.3", "ip"),
            ("K8S_POD_NAME", "K8S_POD_NAME"),
        ] {
            let error = Args::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("CNI_ARGS: ") && error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn order_does_not_matter() {
        assert_eq!(Args::parse("FOO=1;IgnoreUnknown=TRUE;"), Ok(Args::default()));
        assert_eq!(Args::parse(""), Ok(Args::default()));
    }

    #[test]
    fn half_a_pod_is_none() {
        assert_eq!(Args::parse("K8S_POD_NAME=web-0").unwrap().pod, None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_surprise(text in "([A-Z_a-z8]{0,6}=?[0-9a-f.:;,=/]{0,9})*|.*") {
            let _ = Args::parse(&text);
        }
    }
}
