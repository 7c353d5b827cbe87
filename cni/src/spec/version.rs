//! Versions of the specification.

use std::fmt;
use std::str::FromStr;

/// A version of the CNI specification that weft speaks, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0, also the version of a configuration that names none.
    V0_1_0,
    /// 0.2.0: the VERSION command.
    V0_2_0,
    /// 0.3.0: lists of interfaces, addresses and routes; chains of plugins.
    V0_3_0,
    /// 0.3.1: as 0.3.0.
    V0_3_1,
    /// 0.4.0: the CHECK command.
    V0_4_0,
    /// 1.0.0: addresses without their family's number.
    V1_0_0,
    /// 1.1.0: the GC and STATUS commands, the MTU of interfaces, attributes of routes.
    V1_1_0,
}

/// A configuration asks for a version that weft does not speak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cniVersion {0:?} is not supported: write one of {list}", list = Version::list())]
pub struct UnsupportedVersion(String);

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version, used where the runtime's is not known.
    pub const NEWEST: Self = Self::V1_1_0;

    /// As it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    fn list() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnsupportedVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Runtimes leave the key out or empty where they mean the first version.
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnsupportedVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_comes_back_and_is_in_order() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert!(Version::ALL.is_sorted());
        assert_eq!(Version::ALL.last(), Some(&Version::NEWEST));
    }

    #[test]
    fn no_version_means_the_first() {
        assert_eq!("".parse(), Ok(Version::V0_1_0));
    }

    #[test]
    fn others_are_refused_with_the_list() {
        for text in ["1.2.0", "0.3.2", "v1.0.0", "1.0", "1.0.0 ", "latest"] {
            let error = text.parse::<Version>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("0.4.0") && error.contains("1.1.0"), "{error}");
        }
    }
}
