//! Finds the object of the eBPF programs, which the agent carries inside.

use std::path::Path;

fn main() {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/weft.o");
    println!("cargo::rerun-if-changed={}", object.display());
    if object.is_file() {
        println!("cargo::rustc-env=WEFT_EBPF_OBJECT={}", object.display());
    } else {
        println!("cargo::error=the eBPF programs are not built (no target/ebpf/weft.o): run `cargo xtask build-ebpf`");
    }
}
