//! A container image of nothing but the binaries, in an archive that container runtimes and Docker import alike.

mod binary;
mod blob;
mod layer;
mod oci;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};

pub(crate) use binary::Binary;

use layer::Layer;

/// The image's name; a runtime knows it as `docker.io/library/weft`.
pub(crate) const NAME: &str = "weft";

/// What is told about an image.
#[derive(Clone, Debug)]
pub(crate) struct About<'a> {
    /// Its tag.
    pub(crate) version: &'a str,
    /// One line.
    pub(crate) description: &'a str,
    /// SPDX expression.
    pub(crate) licenses: &'a str,
}

/// An image in an archive.
#[derive(Debug)]
pub(crate) struct Image {
    /// Go's word for the processor.
    pub(crate) architecture: &'static str,
    /// `algorithm:hex` of its manifest: what a registry calls it.
    pub(crate) digest: String,
    /// The archive: a tar file.
    pub(crate) archive: Vec<u8>,
}

impl Image {
    /// Puts binaries of one architecture into `/bin`. The same binaries make the same bytes.
    pub(crate) fn of(binaries: &[Binary], about: &About) -> Result<Self> {
        let architecture = binaries.first().map_or("amd64", Binary::architecture);
        for binary in binaries {
            let other = binary.architecture();
            ensure!(other == architecture, "{} is for {other}, others are for {architecture}", binary.name);
        }
        let layer = Layer::of(binaries)?;
        let config = oci::config(architecture, &layer, about);
        let manifest = oci::manifest(&config, &layer.blob, about);
        let digest = manifest.digest();
        let archive = oci::archive(architecture, &[&manifest, &config, &layer.blob], about)?;
        Ok(Self { architecture, digest, archive })
    }
}
