//! Keeps the library mapped once it is loaded: threads of the core may still run its code when the VM
//! purges the module.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
