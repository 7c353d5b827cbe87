//! The documents around a layer, and the archive of them all.
//!
//! An image layout by <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>, which container runtimes
//! import. `manifest.json` beside it names the same blobs as `docker save` does, for a `docker load` that knows no layouts.

use anyhow::Result;
use serde_json::{Value, json};

use super::blob::Blob;
use super::layer::{Layer, Tar};
use super::{About, NAME};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a container of the image starts with. It has no entry point: which of the programs to run is always said.
pub(super) fn config(architecture: &str, layer: &Layer, about: &About) -> Blob {
    Blob::json(
        CONFIG,
        &json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "User": "0", "Env": ["PATH=/bin"], "WorkingDir": "/", "Labels": labels(about) },
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
            "history": [{ "created_by": "cargo xtask image" }],
        }),
    )
}

pub(super) fn manifest(config: &Blob, layer: &Blob, about: &About) -> Blob {
    Blob::json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "annotations": labels(about),
        }),
    )
}

/// The archive of a manifest, its config and its layer.
pub(super) fn archive(architecture: &str, blobs: &[&Blob; 3], about: &About) -> Result<Vec<u8>> {
    let [manifest, config, layer] = blobs;
    let tag = format!("{NAME}:{}", about.version);
    let mut entry = manifest.descriptor();
    entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
    entry["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/library/{tag}"),
        "org.opencontainers.image.ref.name": about.version,
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    let docker = json!([{ "Config": config.path(), "RepoTags": [tag], "Layers": [layer.path()] }]);

    let mut tar = Tar::default();
    tar.file("oci-layout", 0o644, json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes())?;
    tar.file("index.json", 0o644, index.to_string().as_bytes())?;
    tar.file("manifest.json", 0o644, docker.to_string().as_bytes())?;
    tar.directory("blobs/")?;
    tar.directory("blobs/sha256/")?;
    for blob in blobs {
        tar.file(&blob.path(), 0o644, &blob.bytes)?;
    }
    tar.end()
}

fn labels(about: &About) -> Value {
    json!({
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.description": about.description,
        "org.opencontainers.image.version": about.version,
        "org.opencontainers.image.licenses": about.licenses,
    })
}
