//! A program as an image takes it: for a processor that runtimes have a word for, and in need of no library.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

/// A static program.
#[derive(Debug)]
pub(crate) struct Binary {
    /// Its file name.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    architecture: &'static str,
}

impl Binary {
    /// Reads a program; refuses one that an image without libraries cannot run.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
        Self::parse(&name.to_string_lossy(), bytes).with_context(|| path.display().to_string())
    }

    /// The same of bytes.
    pub(super) fn parse(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let header = FileHeader64::<Endianness>::parse(&*bytes).context("is no 64-bit ELF file")?;
        let endian = header.endian().context("is no ELF file")?;
        let architecture = match header.e_machine(endian) {
            EM_X86_64 => "amd64",
            EM_AARCH64 => "arm64",
            machine => bail!("is for ELF machine {machine}: images are for x86-64 and aarch64"),
        };
        let segments = header.program_headers(endian, &*bytes).context("has no segments")?;
        if segments.iter().any(|segment| segment.p_type(endian) == PT_INTERP) {
            bail!("is linked dynamically, and an image has no libraries: `cargo xtask dist` links it statically");
        }
        let name = name.to_owned();
        Ok(Self { name, bytes, architecture })
    }

    /// Go's word for its processor, as runtimes use it.
    pub(super) fn architecture(&self) -> &'static str {
        self.architecture
    }
}
