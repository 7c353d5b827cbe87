//! Takes DWARF out of an object and leaves BTF in.

use anyhow::{Context, Result};
use object::build::elf::{Builder, Section, SectionData};
use object::elf;

/// The object without its `.debug_*` sections: the kernel and bpftool read only BTF.
pub(crate) fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the linker's output is no ELF object")?;
    let is_dwarf = |section: &&Section<'_>| section.name.starts_with(b".debug_");
    let dwarf: Vec<_> = builder.sections.iter().filter(is_dwarf).map(Section::id).collect();
    for section in &mut builder.sections {
        // Relocations go with the section they mend.
        let mends_dwarf = section.sh_info_section.is_some_and(|target| dwarf.contains(&target));
        section.delete = dwarf.contains(&section.id()) || mends_dwarf;
    }
    for symbol in &mut builder.symbols {
        symbol.delete = symbol.section.is_some_and(|section| dwarf.contains(&section));
    }
    // LLVM keeps the names of sections and of symbols in one table, this writer wants two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;

    builder.delete_orphans();
    builder.set_section_sizes();
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("cannot write the object without DWARF")?;
    Ok(stripped)
}
