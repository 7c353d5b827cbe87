//! The JSON object on standard input, before anything in it is acted on.

use std::io::{self, Read};

use serde_json::{Map, Value};

use crate::spec::version::{UnsupportedVersion, Version};

/// Bytes of a configuration at most: beyond anything that a runtime writes.
const LIMIT: u64 = 4 << 20;

/// A JSON object and the bytes it was read from, which a delegated plugin gets unchanged.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) object: Map<String, Value>,
}

/// Standard input holds no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("standard input could not be read")]
    Read(#[source] io::Error),
    #[error("the configuration on standard input is larger than {} MiB", LIMIT >> 20)]
    TooLarge,
    #[error("the configuration on standard input is empty")]
    Empty,
    #[error("the configuration on standard input is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the configuration on standard input is not a JSON object")]
    NotAnObject,
    #[error("cniVersion is {0}: it must be a string")]
    VersionType(Value),
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
}

impl Document {
    /// Reads to the end of `input`, or to the limit.
    pub(crate) fn read(input: impl Read) -> Result<Self, DocumentError> {
        let mut bytes = Vec::with_capacity(4096);
        input.take(LIMIT + 1).read_to_end(&mut bytes).map_err(DocumentError::Read)?;
        Self::parse(bytes)
    }

    /// Decodes bytes that were read already.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > LIMIT {
            return Err(DocumentError::TooLarge);
        }
        if bytes.trim_ascii().is_empty() {
            return Err(DocumentError::Empty);
        }
        match serde_json::from_slice(&bytes)? {
            Value::Object(object) => Ok(Self { bytes, object }),
            _ => Err(DocumentError::NotAnObject),
        }
    }

    /// `cniVersion`; the first version when it is missing.
    pub(crate) fn version(&self) -> Result<Version, DocumentError> {
        Ok(self.version_text()?.parse()?)
    }

    /// `cniVersion` as it is written, whether it is supported or not.
    pub(crate) fn version_text(&self) -> Result<&str, DocumentError> {
        match self.object.get("cniVersion") {
            None | Some(Value::Null) => Ok(Version::V0_1_0.as_str()),
            Some(Value::String(text)) if text.is_empty() => Ok(Version::V0_1_0.as_str()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(DocumentError::VersionType(other.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Document, DocumentError> {
        Document::parse(text.into())
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let deep = "[".repeat(100_000);
        let deep_object = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        for text in ["{", r#"{"name":"#, "{}x", "nul", &deep, &deep_object, "{\"a\":\"\u{0}\"}"] {
            assert!(matches!(parse(text), Err(DocumentError::Json(_))), "{text:.20}");
        }
        assert!(matches!(Document::parse(b"{\"a\":\"\xff\"}".into()), Err(DocumentError::Json(_))));
        assert!(matches!(parse(" \n"), Err(DocumentError::Empty)));
        for text in ["[]", "1", "null", "\"{}\""] {
            assert!(matches!(parse(text), Err(DocumentError::NotAnObject)), "{text}");
        }
    }

    #[test]
    fn the_limit_holds_however_long_the_input_is() {
        assert!(matches!(Document::read(io::repeat(b' ')), Err(DocumentError::TooLarge)));
        let at_limit = format!("{{}}{}", " ".repeat((4 << 20) - 2));
        assert!(parse(&at_limit).is_ok());
    }

    #[test]
    fn the_version_is_a_supported_string() {
        assert_eq!(parse("{}").unwrap().version().unwrap(), Version::V0_1_0);
        assert_eq!(parse(r#"{"cniVersion":""}"#).unwrap().version().unwrap(), Version::V0_1_0);
        assert_eq!(parse(r#"{"cniVersion":"0.4.0"}"#).unwrap().version().unwrap(), Version::V0_4_0);
        assert!(matches!(parse(r#"{"cniVersion":1}"#).unwrap().version(), Err(DocumentError::VersionType(_))));
        assert!(matches!(parse(r#"{"cniVersion":"9.0.0"}"#).unwrap().version(), Err(DocumentError::Version(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_surprise(bytes: Vec<u8>) {
            let _ = Document::parse(bytes);
        }

        #[test]
        fn no_cut_is_a_surprise(cut in 0_usize..60) {
            let text = r#"{"cniVersion":"1.1.0","name":"n","ipam":{"type":"host-local"}}"#;
            prop_assert!(Document::parse(text.as_bytes()[..cut].into()).is_err());
        }
    }
}
