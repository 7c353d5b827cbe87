//! An empty program: what a test run itself costs.

use anyhow::{Context, Result};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader, TestRun, TestRunOptions};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// `r0 = -1; exit` (RFC 9669), little-endian.
const NOTHING: [u8; 16] = [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// The loaded empty program.
#[derive(Debug)]
pub struct Empty(Ebpf);

impl Empty {
    /// Loads it.
    pub fn load() -> Result<Self> {
        let mut ebpf = EbpfLoader::new().btf(None).load(&object()?).context("load the empty program")?;
        program(&mut ebpf)?.load()?;
        Ok(Self(ebpf))
    }

    /// Nanoseconds of one run, the mean of many.
    pub fn time(&mut self, packet: &[u8], repeat: u32) -> Result<u128> {
        let options = TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::new() };
        Ok(program(&mut self.0)?.test_run(options)?.duration.as_nanos())
    }
}

/// Nanoseconds of one run of a program that does nothing, the mean of many.
pub fn time(packet: &[u8], repeat: u32) -> Result<u128> {
    Empty::load()?.time(packet, repeat)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    Ok(ebpf.program_mut("nothing").context("no empty program")?.try_into()?)
}

fn object() -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".into(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    let section = object.add_section(Vec::new(), b"classifier".into(), SectionKind::Text);
    let value = object.append_section_data(section, &NOTHING, 8);
    object.add_symbol(Symbol {
        name: b"nothing".into(),
        value,
        size: NOTHING.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    object.write().context("write the empty program")
}
