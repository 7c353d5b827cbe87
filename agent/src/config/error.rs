//! What can be wrong with a configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::cidr::CidrError;

/// A flag, a variable or a key of the file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line does not parse, or asks for help or the version.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file cannot be read.
    #[error("config file {} cannot be read", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("config file {}, line {line}, is not TOML: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What the parser stumbled over.
        problem: String,
    },
    /// The file has a key that is no setting.
    #[error("config file {}: unknown key {key:?}: did you mean {nearest:?}?", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The setting with the most similar name.
        nearest: String,
    },
    /// A key's value has another type.
    #[error("config file {}: {key}: {problem}", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The directory of settings cannot be read.
    #[error("config directory {} cannot be read", path.display())]
    ReadDirectory {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory has a file whose name is no setting.
    #[error("config directory {}: unknown key {key:?}: did you mean {nearest:?}?", path.display())]
    UnknownFile {
        /// The directory.
        path: PathBuf,
        /// The file's name.
        key: String,
        /// The setting with the most similar name.
        nearest: String,
    },
    /// A file of the directory holds what its setting does not take.
    #[error("config directory {}: {key}: {problem}", path.display())]
    WrongText {
        /// The directory.
        path: PathBuf,
        /// The setting.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// Two settings of which one makes the other void.
    #[error("{first} and {second} contradict each other: {remedy}")]
    Contradiction {
        /// A setting, with its value where that matters.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Which one to leave out, and when.
        remedy: &'static str,
    },
    /// Nobody said where the cluster is.
    #[error(
        "api-server is missing, and KUBERNETES_SERVICE_HOST is not set: give it as https://HOST:PORT, or standalone = \
         true to run without Kubernetes"
    )]
    NoApiServer,
    /// Not where an API server can be.
    #[error("{field} {text:?} is no API server: write it as https://192.0.2.1:6443 or 192.0.2.1:6443")]
    ApiServer {
        /// The setting, or the variable.
        field: &'static str,
        /// Its value.
        text: String,
    },
    /// A pod range cannot be used.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// A path that cannot be used.
    #[error("{field} {} {why}", path.display())]
    Path {
        /// The setting.
        field: &'static str,
        /// Its value.
        path: PathBuf,
        /// What is wrong and the remedy.
        why: &'static str,
    },
    /// The socket's path would not fit.
    #[error("run-dir {} is too long for a socket below it: at most {most} bytes", path.display())]
    RunDirTooLong {
        /// Its value.
        path: PathBuf,
        /// Bytes that fit.
        most: usize,
    },
    /// The MTU is out of range for the families of the pods.
    #[error("mtu {mtu} is out of range: {least} to {most} bytes with these pod ranges")]
    Mtu {
        /// Its value, bytes.
        mtu: u32,
        /// Least bytes.
        least: u32,
        /// Most bytes.
        most: u32,
    },
    /// Not a way to attach.
    #[error("attach {text:?} is unknown: write auto, tcx or clsact")]
    Attach {
        /// Its value.
        text: String,
    },
    /// Not a way to hold rates.
    #[error("shaper {text:?} is unknown: write auto, edt or htb")]
    Shaper {
        /// Its value.
        text: String,
    },
    /// Not a level.
    #[error("log-level {text:?} is unknown: write error, warn, info, debug, trace or off")]
    LogLevel {
        /// Its value.
        text: String,
    },
    /// Not an address and port.
    #[error("listen {text:?} is not an address and port: write it as 127.0.0.1:9850 or [::1]:9850")]
    Listen {
        /// Its value.
        text: String,
    },
    /// Not a node name.
    #[error("node-name {name:?} must have 1 to 253 characters without white space: give --node-name")]
    NodeName {
        /// Its value.
        name: String,
    },
    /// A number is out of its range.
    #[error("{field} {given} is out of range: {least} to {most}")]
    Number {
        /// The setting.
        field: &'static str,
        /// Its value.
        given: u32,
        /// The least that is taken.
        least: u32,
        /// The most that is taken.
        most: u32,
    },
    /// Not a way to route.
    #[error("routing {text:?} is unknown: write overlay or native")]
    Routing {
        /// Its value.
        text: String,
    },
    /// No device can have that name.
    #[error(
        "devices: {name:?} is no device that leads off a node: write a name of at most 15 bytes, or how it begins and *"
    )]
    Device {
        /// Its value.
        name: String,
    },
    /// Not an address of a node.
    #[error("node-ip {text:?} is no address by which other nodes reach this one: write one of its uplink's")]
    NodeIp {
        /// Its value.
        text: String,
    },
    /// Two addresses of a family.
    #[error("node-ip {first} and {second} are of one family: give one of each at most")]
    NodeIpTwice {
        /// The one given first.
        first: IpAddr,
        /// The other.
        second: IpAddr,
    },
    /// Not a range.
    #[error("masq-exempt {text:?} is not a range: write it as 10.0.0.0/8 or fd00::/8")]
    MasqExempt {
        /// Its value.
        text: String,
    },
    /// The address has bits behind the prefix.
    #[error("masq-exempt {given} has host bits set: the network would be {network}")]
    MasqExemptHostBits {
        /// Its value.
        given: IpNet,
        /// With the host bits cleared.
        network: IpNet,
    },
}
