//! The kernel's verifier takes every program of the object, whichever kernel it is.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aya::EbpfLoader;
use aya::programs::{Program, ProgramError};
use weft_tests::need;

/// Lines of the verifier's log that tell why.
const LAST: usize = 12;

#[test]
fn every_program_is_taken() -> Result<()> {
    need::root()?;
    let object = need::workspace().join("target/ebpf/weft.o");
    let mut ebpf = EbpfLoader::new().btf(None).load_file(&object).context("load the maps")?;
    let mut refused = Vec::new();
    let mut taken = 0;
    for (name, program) in ebpf.programs_mut() {
        let started = Instant::now();
        let result = load(program);
        // Past the test's captured output: on an emulated processor this takes minutes.
        let outcome = if result.is_ok() { "taken" } else { "refused" };
        writeln!(io::stderr(), "{name}: {outcome} after {:.1} s", started.elapsed().as_secs_f32())?;
        match result {
            Ok(()) => taken += 1,
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                let log = verifier_log.to_string();
                let lines: Vec<_> = log.trim_end().lines().collect();
                let tail = lines[lines.len().saturating_sub(LAST)..].join("\n");
                refused.push(format!("{name}: {io_error}:\n{tail}"));
            }
            Err(error) => refused.push(format!("{name}: {error:?}")),
        }
    }
    ensure!(refused.is_empty(), "refused, while {taken} were taken:\n{}", refused.join("\n\n"));
    ensure!(taken > 0, "the object has no programs");
    Ok(())
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::SchedClassifier(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}
