//! A plugin's configuration (section 1), read as far as an operation needs it.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::{AttachmentKey, Bandwidth, DEFAULT_SOCKET, IpRange, PodRef, PortMapping};
use crate::mac::Mac;
use crate::spec::address::RequestedAddress;
use crate::spec::args::Args;
use crate::spec::bandwidth::BandwidthError;
use crate::spec::env::is_identifier;
use crate::spec::prev_result::{PrevResult, PrevResultError};
use crate::spec::result::Dns;
use crate::spec::runtime_config::RuntimeConfig;
use crate::spec::version::Version;

/// Keys that weft acts on or the specification defines; any other may belong to another plugin of the chain.
const KNOWN_KEYS: [&str; 13] = [
    "agentSocket",
    "args",
    "capabilities",
    "cniVersion",
    "cniVersions",
    "disableCheck",
    "dns",
    "ipam",
    "mtu",
    "name",
    "prevResult",
    "runtimeConfig",
    "type",
];

/// What every operation needs of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetConf {
    pub(crate) version: Version,
    /// `name`: the network's.
    pub(crate) name: String,
    /// `agentSocket`.
    pub(crate) agent_socket: PathBuf,
    /// `ipam.type`: the plugin that chooses the addresses, if it is not the agent.
    pub(crate) ipam: Option<String>,
    object: Map<String, Value>,
}

/// What ADD is asked for; the more specific source wins: `runtimeConfig`, then `args`, then `CNI_ARGS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) mtu: Option<u32>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) ranges: Vec<Vec<IpRange>>,
    pub(crate) mac: Option<Mac>,
    pub(crate) dns: Dns,
    pub(crate) pod: Option<PodRef>,
    pub(crate) service: Service,
}

/// What a pod is given whoever made its interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) ports: Vec<PortMapping>,
    pub(crate) bandwidth: Bandwidth,
}

/// The configuration is JSON, but wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("name is {0:?}: it must start with a letter or digit and go on with letters, digits, _ . -")]
    Name(String),
    #[error("agentSocket is {0:?}: it must be an absolute path")]
    AgentSocket(String),
    #[error("ipam.type is {0:?}: it must be the file name of a plugin in CNI_PATH")]
    IpamType(String),
    #[error("mtu is {0}: it must be from 68 to 65535 bytes")]
    Mtu(u64),
    #[error("{path}: {source}")]
    Field { path: String, source: serde_json::Error },
    #[error("{path} mixes IPv4 and IPv6: write one range set for each family")]
    MixedFamilies { path: String },
    #[error("{path}: {mapping} is asked for by portMappings[{first}] already: leave one of them out")]
    SamePort { path: String, mapping: PortMapping, first: usize },
    #[error("runtimeConfig.bandwidth.{0}")]
    Bandwidth(#[from] BandwidthError),
    #[error("unknown key {found:?}: write {known:?}")]
    NearMiss { found: String, known: &'static str },
    #[error("{path} is not supported{hint}: {value}")]
    Unsupported { path: String, value: Value, hint: &'static str },
    #[error("ipam: a weft-cni that is chained behind another plugin takes the addresses of prevResult: remove ipam")]
    ChainedIpam,
    #[error(transparent)]
    PrevResult(#[from] PrevResultError),
}

impl NetConf {
    /// Reads what DEL needs, and no more: DEL must go on where ADD refused.
    pub(crate) fn parse(object: Map<String, Value>, version: Version) -> Result<Self, ConfError> {
        let name: String = field(&object, "name")?.ok_or(ConfError::Missing("name"))?;
        if !is_identifier(&name) {
            return Err(ConfError::Name(name));
        }
        let socket: String = field(&object, "agentSocket")?.unwrap_or_else(|| DEFAULT_SOCKET.to_owned());
        if !socket.starts_with('/') {
            return Err(ConfError::AgentSocket(socket));
        }
        let ipam = ipam_type(&object)?;
        Ok(Self { version, name, agent_socket: socket.into(), ipam, object })
    }

    /// Whether `type` says so.
    pub(crate) fn is_of_type(&self, name: &str) -> bool {
        self.object.get("type").is_some_and(|found| found == name)
    }

    /// Refuses a key that looks like one of ours, written wrong.
    pub(crate) fn check_keys(&self) -> Result<(), ConfError> {
        for found in self.object.keys().filter(|key| !KNOWN_KEYS.contains(&key.as_str())) {
            if let Some(known) = KNOWN_KEYS.into_iter().find(|known| is_near(found, known)) {
                return Err(ConfError::NearMiss { found: found.clone(), known });
            }
        }
        Ok(())
    }

    /// Reads and checks everything that an ADD without a previous result acts on.
    pub(crate) fn request(&self, args: Args) -> Result<Request, ConfError> {
        let runtime = self.runtime_config()?;
        let service = service(&runtime)?;
        let of_runtime: Vec<_> = runtime.ips.iter().map(|ip| ip.0).collect();
        let ips = [of_runtime, self.ips_of_args()?, args.ips].into_iter().find(|ips| !ips.is_empty());
        let dns = Dns::from(runtime.dns);
        let ranges = runtime.ip_ranges.into_iter().map(|set| set.into_iter().flat_map(|subnet| subnet.0).collect());
        Ok(Request {
            mtu: self.mtu()?,
            ips: ips.unwrap_or_default(),
            ranges: ranges.collect(),
            mac: runtime.mac.or(args.mac),
            dns: if dns.is_empty() { field(&self.object, "dns")?.unwrap_or_default() } else { dns },
            pod: args.pod,
            service,
        })
    }

    /// Reads what a chained weft-cni acts on, and refuses what one cannot do that only adopts an interface.
    pub(crate) fn chained(&self) -> Result<Service, ConfError> {
        let service = service(&self.runtime_config()?)?;
        if self.ipam.is_some() {
            return Err(ConfError::ChainedIpam);
        }
        for key in ["ips", "mac", "ipRanges"] {
            self.refuse(key, " of a chained weft-cni, let the plugin before it have it")?;
        }
        Ok(service)
    }

    /// `prevResult`, if there is one that says anything.
    pub(crate) fn prev_result(&self) -> Result<Option<PrevResult>, ConfError> {
        let Some(value) = self.object.get("prevResult").filter(|value| !is_nothing(value)) else { return Ok(None) };
        Ok(Some(PrevResult::decode(value.clone(), self.version)?))
    }

    /// `cni.dev/valid-attachments`. A list that is missing is an error: it would mean that nothing is valid.
    pub(crate) fn valid_attachments(&self) -> Result<Vec<AttachmentKey>, ConfError> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(rename = "containerID")]
            container_id: String,
            ifname: String,
        }
        const KEY: &str = "cni.dev/valid-attachments";
        // libcni writes the list under both names; the shorter one was in drafts.
        let key = [KEY, "cni.dev/attachments"].into_iter().find(|key| self.object.contains_key(*key));
        let listed: Vec<Listed> = field(&self.object, key.ok_or(ConfError::Missing(KEY))?)?.unwrap_or_default();
        Ok(listed.into_iter().map(|one| AttachmentKey { container_id: one.container_id, ifname: one.ifname }).collect())
    }

    fn runtime_config(&self) -> Result<RuntimeConfig, ConfError> {
        let runtime: RuntimeConfig = field(&self.object, "runtimeConfig")?.unwrap_or_default();
        if let Some((key, value)) = runtime.bandwidth.unsupported() {
            let path = format!("runtimeConfig.bandwidth.{key}");
            return Err(ConfError::Unsupported {
                path,
                value,
                hint: ", a limit is for all that a pod sends or is sent",
            });
        }
        // With delegated IPAM a capability may be for the other plugin.
        if self.ipam.is_none() {
            for key in runtime.other.keys() {
                self.refuse(key, "")?;
            }
        }
        for (i, set) in runtime.ip_ranges.iter().enumerate() {
            let mut ranges = set.iter().flat_map(|subnet| &subnet.0);
            let ipv4 = ranges.next().map(|range| range.start.is_ipv4());
            if ranges.any(|range| Some(range.start.is_ipv4()) != ipv4) {
                return Err(ConfError::MixedFamilies { path: format!("runtimeConfig.ipRanges[{i}]") });
            }
        }
        Ok(runtime)
    }

    fn refuse(&self, capability: &str, hint: &'static str) -> Result<(), ConfError> {
        match self.object.get("runtimeConfig").and_then(|runtime| runtime.get(capability)) {
            Some(value) if !is_nothing(value) => {
                let path = format!("runtimeConfig.{capability}");
                Err(ConfError::Unsupported { path, value: value.clone(), hint })
            }
            _ => Ok(()),
        }
    }

    fn mtu(&self) -> Result<Option<u32>, ConfError> {
        let Some(mtu) = field::<u64>(&self.object, "mtu")? else { return Ok(None) };
        match u16::try_from(mtu) {
            Ok(fits @ 68..) => Ok(Some(fits.into())),
            _ => Err(ConfError::Mtu(mtu)),
        }
    }

    /// `args.cni.ips`.
    fn ips_of_args(&self) -> Result<Vec<IpAddr>, ConfError> {
        let cni = self.object.get("args").and_then(|args| args.get("cni")).and_then(Value::as_object);
        let Some(ips) = cni.and_then(|cni| cni.get("ips")).filter(|ips| !ips.is_null()) else { return Ok(Vec::new()) };
        let ips: Vec<RequestedAddress> = decode(ips, "args.cni.ips")?;
        Ok(ips.into_iter().map(|ip| ip.0).collect())
    }
}

fn service(runtime: &RuntimeConfig) -> Result<Service, ConfError> {
    let ports: Vec<_> = runtime.port_mappings.iter().map(|mapping| mapping.0.clone()).collect();
    for (at, mapping) in ports.iter().enumerate() {
        if let Some(first) = ports[..at].iter().position(|earlier| earlier.overlaps(mapping)) {
            let path = format!("runtimeConfig.portMappings[{at}].hostPort");
            return Err(ConfError::SamePort { path, mapping: mapping.clone(), first });
        }
    }
    Ok(Service { ports, bandwidth: runtime.bandwidth.limits()? })
}

fn ipam_type(object: &Map<String, Value>) -> Result<Option<String>, ConfError> {
    let Some(ipam) = field::<Map<String, Value>>(object, "ipam")?.filter(|ipam| !ipam.is_empty()) else {
        return Ok(None);
    };
    let Some(name) = ipam.get("type") else { return Err(ConfError::Missing("ipam.type")) };
    let name: String = decode(name, "ipam.type")?;
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(ConfError::IpamType(name));
    }
    Ok(Some(name))
}

/// Decodes a key's value; a `null` counts as missing.
fn field<'de, T: Deserialize<'de>>(object: &'de Map<String, Value>, key: &str) -> Result<Option<T>, ConfError> {
    object.get(key).filter(|value| !value.is_null()).map(|value| decode(value, key)).transpose()
}

fn decode<'de, T: Deserialize<'de>>(value: &'de Value, key: &str) -> Result<T, ConfError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match inner.as_str() {
            "." => key.to_owned(),
            index if index.starts_with('[') => format!("{key}{index}"),
            name => format!("{key}.{name}"),
        };
        ConfError::Field { path, source: error.into_inner() }
    })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether somebody who wrote `found` meant `known`: other case, other separators, or a slip of one or two letters.
fn is_near(found: &str, known: &str) -> bool {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let allowed = if known.len() < 6 { 1 } else { 2 };
    strsim::damerau_levenshtein(&plain(found), &plain(known)) <= allowed
}

#[cfg(test)]
mod tests;
