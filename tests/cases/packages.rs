//! What is applied to a cluster and what is written about it: the two ways to install say the same, Kubernetes knows
//! every key, and what is derived from the code is up to date.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use weft_agent::config::{self, Command, Setting};
use weft_tests::manifest::{self, Chart, object};
use weft_tests::need;
use weft_tests::node::GRANTED;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CHECKSUM: &str = "weft.dev/config-checksum";

fn deploy(name: &str) -> PathBuf {
    need::workspace().join("deploy").join(name)
}

fn base() -> Result<Vec<Value>> {
    manifest::kustomize(&deploy(""))
}

fn chart() -> Chart {
    Chart::of(&deploy("helm"))
}

/// The containers of a daemon set, initial ones first.
fn containers(daemon_set: &Value) -> impl Iterator<Item = &Value> {
    let pod = &daemon_set["spec"]["template"]["spec"];
    ["initContainers", "containers"].into_iter().filter_map(|list| pod[list].as_array()).flatten()
}

/// Fails unless a file has this text; writes it where `WEFT_UPDATE` is set.
fn keep(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if env::var_os("WEFT_UPDATE").is_none() {
        bail!(
            "{} is out of date: `WEFT_UPDATE=1 cargo test -p weft-tests --test packages` writes it, then commit it",
            path.display()
        );
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[test]
fn helm_and_kustomize_say_the_same() -> Result<()> {
    let differences = manifest::differences(&base()?, &chart().render(&json!({}))?);
    ensure!(differences.is_empty(), "kustomize against Helm:\n{}", differences.join("\n"));
    Ok(())
}

/// The kustomizations that the documentation shows, each with what the chart is given to the same end.
fn overlays() -> Result<Vec<(String, Value)>> {
    const HEADER: &str =
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - ../weft/deploy\n";
    let text = fs::read_to_string(need::workspace().join("docs/install.md"))?;
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    let mut shown = blocks.filter_map(|block| match block {
        whole if whole.starts_with("apiVersion: kustomize") => Some(whole.to_owned()),
        part if part.starts_with("patches:") => Some(format!("{HEADER}{part}")),
        _ => None,
    });
    let given = [
        json!({
            "image": { "repository": "registry.example/weft", "tag": "7" },
            "config": { "routing": "native", "api-server": "https://192.0.2.10:6443" },
        }),
        json!({ "cni": {
            "binDir": "/var/lib/rancher/k3s/data/cni", "confDir": "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        } }),
        json!({ "capabilities": ["BPF", "NET_ADMIN", "NET_RAW", "PERFMON", "SYS_RESOURCE"] }),
    ];
    let overlays: Vec<_> = shown.by_ref().take(given.len()).zip(given).collect();
    ensure!(overlays.len() == 3 && shown.next().is_none(), "the documentation shows other overlays");
    Ok(overlays)
}

/// With volumes in the order of their names: a patch moves those that it changes to the front.
fn in_order(mut objects: Vec<Value>) -> Vec<Value> {
    let volumes = objects.iter_mut().filter_map(|object| object.pointer_mut("/spec/template/spec/volumes"));
    for volumes in volumes.filter_map(Value::as_array_mut) {
        volumes.sort_by_key(|volume| volume["name"].to_string());
    }
    objects
}

#[test]
fn helm_and_kustomize_say_the_same_of_what_the_documentation_changes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    symlink(need::workspace(), dir.path().join("weft"))?;
    let mine = dir.path().join("mine");
    fs::create_dir(&mine)?;
    for (overlay, values) in overlays()? {
        fs::write(mine.join("kustomization.yaml"), &overlay)?;
        let kustomized = manifest::kustomize(&mine).context(overlay.clone())?;
        kustomized.iter().try_for_each(manifest::check)?;
        let kustomized = in_order(kustomized);
        let mut differences = manifest::differences(&kustomized, &in_order(chart().render(&values)?));
        // Kustomize cannot compute it.
        differences.retain(|line| !line.contains(CHECKSUM));
        ensure!(differences.is_empty(), "{overlay}\nagainst {values}:\n{}", differences.join("\n"));
        ensure!(!manifest::differences(&kustomized, &in_order(base()?)).is_empty(), "it changes nothing:\n{overlay}");
    }
    Ok(())
}

#[test]
fn kubernetes_knows_every_key() -> Result<()> {
    let given = json!({
        "image": { "pullSecrets": [{ "name": "registry" }] },
        "affinity": { "nodeAffinity": {} },
        "podAnnotations": { "example.org/team": "network" },
        "maxUnavailable": 2,
    });
    let objects = [base()?, manifest::kustomize(&deploy("cleanup"))?, chart().render(&given)?].concat();
    objects.iter().try_for_each(manifest::check)
}

#[test]
fn values_of_the_chart_arrive() -> Result<()> {
    let given = json!({
        "namespace": { "name": "net", "create": false },
        "image": { "repository": "registry.example/weft", "tag": "7" },
        "config": { "mtu": "1400" },
        "tolerations": [],
        "cni": { "binDir": "/usr/lib/cni" },
    });
    let (before, after) = (chart().render(&json!({}))?, chart().render(&given)?);
    let daemon_set = object(&after, "DaemonSet", "weft")?;
    let pod = &daemon_set["spec"]["template"]["spec"];
    assert_eq!(object(&after, "ConfigMap", "weft")?["data"]["mtu"], "1400");
    assert!(containers(daemon_set).all(|container| container["image"] == "registry.example/weft:7"));
    assert!(pod.get("tolerations").is_none(), "an empty list is left out");
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    assert!(volumes.iter().any(|volume| volume["hostPath"]["path"] == "/usr/lib/cni"), "{volumes:?}");
    assert!(object(&after, "Namespace", "net").is_err());
    assert!(after.iter().all(|object| object["metadata"].get("namespace").is_none_or(|name| name == "net")));
    let checksum = |objects: &[Value]| -> Result<Value> {
        Ok(object(objects, "DaemonSet", "weft")?["spec"]["template"]["metadata"]["annotations"][CHECKSUM].clone())
    };
    assert_ne!(checksum(&before)?, checksum(&after)?, "other settings are another pod");
    Ok(())
}

#[test]
fn other_settings_are_another_checksum() -> Result<()> {
    let settings = object(&base()?, "ConfigMap", "weft")?["data"].clone();
    let path = deploy("daemonset.yaml");
    let text = fs::read_to_string(&path)?;
    let line = text.lines().find(|line| line.trim_start().starts_with(CHECKSUM)).context("no checksum")?;
    let (key, _) = line.split_once(": ").context("a checksum without a value")?;
    keep(&path, &text.replace(line, &format!("{key}: {}", manifest::sha256(&settings.to_string()))))
}

#[test]
fn the_agent_takes_the_shipped_settings() -> Result<()> {
    let objects = base()?;
    let settings = object(&objects, "ConfigMap", "weft")?["data"].as_object().context("no settings")?;
    let dir = tempfile::tempdir()?;
    for (key, value) in settings {
        fs::write(dir.path().join(key), value.as_str().context("a setting is text")?)?;
    }
    let args = ["weft-agent", "--api-server=https://192.0.2.1:6443", "--node-name=n1", "--config-dir"];
    let args = args.map(OsString::from).into_iter().chain([dir.path().into()]);
    let Command::Run(config) = config::parse(args)? else { bail!("no agent") };
    let listen = config.listen.context("the probes need `listen`")?;
    let daemon_set = object(&objects, "DaemonSet", "weft")?;
    let agent = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &agent[probe]["httpGet"];
        assert_eq!((&asked["host"], &asked["port"]), (&json!(listen.ip()), &json!(listen.port())), "{probe}");
    }
    let mounted = agent["volumeMounts"].as_array().context("no mounts")?;
    let writable = |path: &Path| {
        let path = path.display().to_string();
        mounted.iter().any(|mount| mount["mountPath"] == path.as_str() && mount.get("readOnly").is_none())
    };
    // What `weft-agent init` checks settings against, and writes to, is where the agent has it.
    let init = &daemon_set["spec"]["template"]["spec"]["initContainers"][0];
    let mounted_first = init["volumeMounts"].as_array().context("no mounts")?;
    for name in ["config", "bpffs", "cgroup", "cni-bin"] {
        let path =
            |mounts: &[Value]| mounts.iter().find(|mount| mount["name"] == name).map(|one| one["mountPath"].clone());
        ensure!(path(mounted_first).is_some() && path(mounted_first) == path(mounted), "{name} of the init container");
    }
    let install = config.install.context("nothing to install")?;
    for path in [Some(config.proc_dir.join("sys/net")), Some(config.run_dir), install.bin_dir, install.conf_dir] {
        let path = path.context("not set")?;
        assert!(writable(&path), "{} is not mounted to be written", path.display());
    }
    Ok(())
}

#[test]
fn containers_get_what_they_name_and_no_more() -> Result<()> {
    let objects = [base()?, manifest::kustomize(&deploy("cleanup"))?].concat();
    for (name, container) in [("weft", "init"), ("weft", "agent"), ("weft-cleanup", "cleanup")] {
        let daemon_set = object(&objects, "DaemonSet", name)?;
        let found = containers(daemon_set).find(|one| one["name"] == container).context(container)?;
        let security = &found["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(found["terminationMessagePolicy"], "FallbackToLogsOnError", "{container}");
        let profile = &daemon_set["spec"]["template"]["spec"]["securityContext"]["seccompProfile"];
        assert_eq!(profile["type"], "RuntimeDefault", "{name}");
        // Mounting for the node is for privileged containers, and that one ends at once.
        if container == "init" {
            continue;
        }
        assert!(security.get("privileged").is_none(), "{container}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{container}");
    }
    let daemon_set = object(&objects, "DaemonSet", "weft")?;
    let agent = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    let granted = &agent["securityContext"]["capabilities"]["add"];
    assert_eq!(*granted, json!(GRANTED.map(str::to_uppercase)), "see tests/cases/preflight.rs for their use");
    let update = &daemon_set["spec"]["updateStrategy"]["rollingUpdate"];
    assert!(update["maxUnavailable"].as_str().is_some_and(|share| share.ends_with('%')), "{update}");
    assert!(agent["resources"]["requests"]["memory"].is_string(), "{agent}");
    for role in objects.iter().filter(|object| object["kind"] == "ClusterRole") {
        assert!(!role["rules"].to_string().contains('*'), "{role}");
    }
    Ok(())
}

#[test]
fn one_version_everywhere() -> Result<()> {
    let about = chart().about()?;
    assert_eq!((&about["version"], &about["appVersion"]), (&json!(VERSION), &json!(VERSION)));
    let image = format!("weft:{VERSION}");
    let dockerfile = fs::read_to_string(deploy("Dockerfile"))?;
    for told in [format!("--tag {image} "), format!("version=\"{VERSION}\"")] {
        assert!(dockerfile.contains(&told), "{told} is missing in deploy/Dockerfile");
    }
    for (directory, name) in [("", "weft"), ("cleanup", "weft-cleanup")] {
        let objects = manifest::kustomize(&deploy(directory))?;
        let daemon_set = object(&objects, "DaemonSet", name)?;
        assert_eq!(daemon_set["metadata"]["labels"]["app.kubernetes.io/version"], VERSION, "{name}");
        assert!(containers(daemon_set).all(|container| container["image"] == image.as_str()), "{name}");
    }
    Ok(())
}

const CONFIGURATION: &str = "# Configuration

Every setting of the agent is a flag, an environment variable, a key of the TOML file that `--config` (`WEFT_CONFIG`) names, and a
file below the directory that `--config-dir` (`WEFT_CONFIG_DIR`) names. That directory is how a `ConfigMap` is mounted: a key each,
its value as text, lists with commas. Flags win over variables, those over the directory, that over the file. All of it is
checked before anything is touched; a wrong setting ends the agent with one line, which names the key and the remedy, and exit code 2.

```toml
mtu = 1450
masq-exempt = [\"10.0.0.0/8\", \"fd00::/8\"]
```

```yaml
data:
  mtu: \"1450\"
  masq-exempt: 10.0.0.0/8,fd00::/8
```

This page is made from the code.

| key and flag | variable | value | default | meaning |
|---|---|---|---|---|
";

fn row(setting: &Setting) -> String {
    let Setting { key, variable, value, list, default, meaning } = setting;
    let list = if *list { ", a list" } else { "" };
    let default = default.as_deref().unwrap_or("none");
    format!("| `{key}` | `{variable}` | {value}{list} | {default} | {meaning} |\n")
}

#[test]
fn the_reference_is_what_the_code_says() -> Result<()> {
    let rows: String = config::reference().iter().map(row).collect();
    keep(&need::workspace().join("docs/configuration.md"), &format!("{CONFIGURATION}{rows}"))
}
