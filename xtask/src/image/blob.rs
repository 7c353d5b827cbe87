//! Bytes that are named by their digest.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Content and what kind it is.
#[derive(Debug)]
pub(super) struct Blob {
    media_type: &'static str,
    sha256: String,
    pub(super) bytes: Vec<u8>,
}

impl Blob {
    pub(super) fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, sha256: sha256(&bytes), bytes }
    }

    pub(super) fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    pub(super) fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    /// Where an image layout has it.
    pub(super) fn path(&self) -> String {
        format!("blobs/sha256/{}", self.sha256)
    }

    /// How others refer to it: <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>.
    pub(super) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len() })
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
