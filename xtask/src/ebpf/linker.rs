//! bpf-linker: from LLVM bitcode to one object with BTF.

use std::path::PathBuf;
use std::process::Command;

use crate::process;

/// An installed bpf-linker.
#[derive(Debug)]
pub(crate) struct Linker {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says of itself.
    pub(crate) version: String,
    /// Major version of the LLVM it loads; `None` where LLVM is linked into it.
    pub(crate) llvm: Option<u32>,
}

impl Linker {
    /// The release that the build is tried with.
    pub(crate) const VERSION: &str = "0.13.0";

    /// The installed linker, if there is one that runs.
    pub(crate) fn find() -> Option<Self> {
        let path = process::find("bpf-linker")?;
        let version = process::output(Command::new(&path).arg("--version"))?.trim().to_owned();
        let llvm = process::output(Command::new("ldd").arg(&path)).and_then(|libraries| loaded_llvm(&libraries));
        Some(Self { path, version, llvm })
    }

    /// Whether it reads the bitcode of a rustc with that LLVM: LLVM reads its own and older bitcode.
    pub(crate) fn reads(&self, llvm: u32) -> bool {
        self.llvm.is_none_or(|own| own >= llvm)
    }
}

fn loaded_llvm(libraries: &str) -> Option<u32> {
    let (_, rest) = libraries.split_once("libLLVM")?;
    let digits: String = rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_is_read_from_both_spellings_of_its_library() {
        assert_eq!(loaded_llvm("\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x1)"), Some(22));
        assert_eq!(loaded_llvm("\tlibLLVM-19.so => /usr/lib/libLLVM-19.so (0x1)"), Some(19));
        assert_eq!(loaded_llvm("\tstatically linked"), None);
    }

    #[test]
    fn older_bitcode_is_read_and_newer_is_not() {
        let linker = Linker { path: "bpf-linker".into(), version: String::new(), llvm: Some(22) };
        assert!(linker.reads(21) && linker.reads(22) && !linker.reads(23));
    }
}
