//! The archive as its readers take it.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::Value;
use tar::Archive;

use super::blob::sha256;
use super::*;

const ABOUT: About = About { version: "1.2.3", description: "what it is", licenses: "Apache-2.0" };

/// An ELF header without segments (elf(5)).
fn elf(machine: u8) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    (bytes[18], bytes[52], bytes[54]) = (machine, 64, 56);
    bytes
}

fn image(names: &[&str]) -> Image {
    let binaries: Vec<_> = names.iter().map(|name| Binary::parse(name, elf(62)).unwrap()).collect();
    Image::of(&binaries, &ABOUT).unwrap()
}

/// Path to content; directories have none. Every entry is root's and of no time.
fn unpack(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(files.insert(path.clone(), content).is_none(), "{path} twice");
    }
    files
}

fn json(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
    serde_json::from_slice(&files[path]).unwrap()
}

/// The blob of a descriptor, whose digest and size are right.
fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = &files[&format!("blobs/sha256/{hex}")];
    assert_eq!((sha256(bytes), descriptor["size"].as_u64()), (hex.to_owned(), Some(bytes.len() as u64)));
    bytes
}

fn only(list: &Value) -> &Value {
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    &list[0]
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut unpacked).unwrap();
    unpacked
}

#[test]
fn a_runtime_reads_the_layout() {
    let image = image(&["weft", "weft-agent"]);
    let files = unpack(&image.archive);
    assert_eq!(json(&files, "oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = json(&files, "index.json");
    let entry = only(&index["manifests"]);
    assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/library/weft:1.2.3");
    assert_eq!(entry["platform"]["architecture"], "amd64");
    assert_eq!(entry["digest"], image.digest.as_str());
    let manifest: Value = serde_json::from_slice(blob(&files, entry)).unwrap();
    let config: Value = serde_json::from_slice(blob(&files, &manifest["config"])).unwrap();
    let layer = gunzip(blob(&files, &manifest["layers"][0]));
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&layer)));
    assert_eq!((&config["architecture"], &config["os"]), (&"amd64".into(), &"linux".into()));
    assert_eq!(config["config"]["Env"][0], "PATH=/bin");
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(unpack(&layer).into_keys().collect::<Vec<_>>(), ["bin/", "bin/weft", "bin/weft-agent"]);
}

#[test]
fn docker_reads_its_own_list() {
    let files = unpack(&image(&["weft"]).archive);
    let list = json(&files, "manifest.json");
    let entry = only(&list);
    assert_eq!(entry["RepoTags"][0], "weft:1.2.3");
    let config = json(&files, entry["Config"].as_str().unwrap());
    let layers = entry["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), config["rootfs"]["diff_ids"].as_array().unwrap().len());
    let layer = gunzip(&files[layers[0].as_str().unwrap()]);
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&layer)));
}

#[test]
fn the_same_binaries_make_the_same_bytes() {
    let first = image(&["weft-cni", "weft", "weft-agent"]);
    assert_eq!(first.archive, image(&["weft-cni", "weft", "weft-agent"]).archive);
    assert_eq!(first.archive, image(&["weft", "weft-agent", "weft-cni"]).archive, "whatever their order");
}

#[test]
fn programs_that_would_not_run_are_refused() {
    let dynamic = Binary::read(&std::env::current_exe().unwrap()).unwrap_err();
    assert!(format!("{dynamic:#}").contains("cargo xtask dist"), "{dynamic:#}");
    assert!(Binary::parse("script", b"#!/bin/sh\n".to_vec()).is_err());
    assert!(Binary::parse("riscv", elf(243)).is_err());
    let mixed = [Binary::parse("one", elf(62)).unwrap(), Binary::parse("two", elf(183)).unwrap()];
    let mixed = Image::of(&mixed, &ABOUT).unwrap_err().to_string();
    assert!(mixed.contains("two") && mixed.contains("arm64"), "{mixed}");
}
