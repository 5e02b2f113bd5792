//! Makes the C header (into `OUT_DIR`) and sets the shared library's SONAME, when the feature `capi` is on.
//!
//! The header is a sequence of sections, one for each file of `src/ffi`, each made by a run of cbindgen over
//! that file, between `src/ffi/header/top.h` (the manual's introduction) and `bottom.h` (initialisers).
//! `make header` copies the result to `include/`; `tests/header.rs` fails when the two differ.
//!
//! SONAME and `-z nodelete` are plain link arguments: cargo's `rustc-cdylib-link-arg` warns, and may one
//! day fail, where the manifest declares no cdylib (it must not: that drops link-time optimisation), and it
//! leaks into dependents. These also reach this package's own test executables, which do not mind.

#[cfg(feature = "capi")]
#[allow(dead_code, clippy::enum_variant_names, reason = "the table has more than the header needs")]
#[path = "src/error/table.rs"]
mod table;

#[cfg(feature = "capi")]
#[path = "src/ffi/abi.rs"]
mod abi;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "capi")]
    capi::make();
}

#[cfg(feature = "capi")]
mod capi {
    #![allow(clippy::disallowed_methods, reason = "a build script has no storage seam")]

    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use super::{abi, table};

    /// The files of `src/ffi` that make a section, in the header's order.
    const SECTIONS: &[&str] = &[
        "status",
        "text",
        "error",
        "version",
        "foundation",
        "config",
        "watch",
        "event",
        "durability",
        "query",
        "summary",
        "trace",
        "tail",
        "upkeep",
        "telemetry",
        "fork",
    ];

    pub fn make() {
        let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
        for watched in ["src/ffi", "src/error/table.rs", "cbindgen.toml"] {
            println!("cargo::rerun-if-changed={watched}");
        }
        println!("cargo::rustc-link-arg=-Wl,-soname,libelixirscope_foundation.so.{}", abi::ESF_ABI_VERSION);
        println!("cargo::rustc-link-arg=-Wl,-z,nodelete");

        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
        fs::write(out.join("elixirscope_foundation.h"), header(&root)).expect("OUT_DIR can be written");
    }

    fn header(root: &Path) -> String {
        let ffi = root.join("src/ffi");
        let read = |name: &str| {
            fs::read_to_string(ffi.join(name)).unwrap_or_else(|error| panic!("src/ffi/{name}: {error}"))
        };
        let mut header = read("header/top.h").replace("/* @VERSION@ */\n", &version());
        let mut layouts = String::new();
        for file in SECTIONS {
            let source = read(&format!("{file}.rs"));
            header.push_str(&introduction(&source));
            header.push_str(&plain(&declarations(root, file, &source), &source));
            layouts.push_str(&assertions(&source));
        }
        header.push_str(&read("header/bottom.h").replace("/* @LAYOUT@ */\n", &layouts));
        header
    }

    /// The version as constants, so that a program can tell what it was compiled against.
    fn version() -> String {
        let version = env!("CARGO_PKG_VERSION");
        let mut text = String::new();
        let parts = ["MAJOR", "MINOR", "PATCH"].into_iter().zip(version.split('.'));
        for (name, number) in parts {
            writeln!(text, "#define ESF_VERSION_{name} {number}").expect("a String takes all");
        }
        writeln!(text, "#define ESF_VERSION \"{version}\"").expect("a String takes all");
        writeln!(text, "#define ESF_ABI_VERSION {}u", abi::ESF_ABI_VERSION).expect("a String takes all");
        text
    }

    /// A section's head: the first paragraphs of its file, the very first of which is the title.
    fn introduction(source: &str) -> String {
        let docs = source.lines().map_while(|line| line.strip_prefix("//!"));
        let docs = docs.take_while(|line| !line.starts_with(" # "));
        let mut text = "\n/*\n".to_owned();
        let mut code = false;
        for (number, line) in docs.enumerate() {
            // What is fenced in Markdown is indented here.
            if line.starts_with(" ```") {
                code = !code;
                continue;
            }
            let line = if code { format!("    {line}") } else { line.replace('`', "") };
            writeln!(text, "{}", format!(" *{line}").trim_end()).expect("a String takes all");
            if number == 0 {
                writeln!(text, " * {}", "=".repeat(line.trim().len())).expect("a String takes all");
            }
        }
        text.push_str(" */\n\n");
        text
    }

    /// cbindgen's text in the header's manner: doc comments of one line take one line, types go by their
    /// typedef, unsigned constants say so.
    fn plain(text: &str, source: &str) -> String {
        let mut text = text.replace("struct esf_", "esf_").replace("typedef esf_", "typedef struct esf_");
        for constant in source.lines().filter_map(|line| line.strip_prefix("pub const ESF_")) {
            let (name, rest) = constant.split_once(": ").expect("a constant has a type");
            let (kind, value) = rest.trim_end_matches(';').split_once(" = ").expect("and a value");
            if !matches!(kind, "esf_status" | "i64") {
                let line = format!("#define ESF_{name} {value}\n");
                assert!(text.contains(&line), "cbindgen writes ESF_{name} in another way");
                text = text.replace(&line, &format!("{}u\n", line.trim_end()));
            }
        }
        let lines: Vec<_> = text.lines().collect();
        let mut out = String::new();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let short = match (lines.get(at + 1), lines.get(at + 2)) {
                (Some(middle), Some(end)) if line.trim() == "/**" && end.trim() == "*/" => {
                    middle.trim().strip_prefix("* ")
                }
                _ => None,
            };
            if let Some(comment) = short {
                let indent = &line[..line.len() - line.trim_start().len()];
                writeln!(out, "{indent}/** {comment} */").expect("a String takes all");
                at += 3;
            } else {
                writeln!(out, "{line}").expect("a String takes all");
                at += 1;
            }
        }
        out
    }

    /// What cbindgen makes of one file; for the errors, the constants of the error table as well.
    fn declarations(root: &Path, file: &str, source: &str) -> String {
        let mut config =
            cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml can be read");
        // Structs that no function of this file takes are wanted all the same.
        config.export.include.extend(layouts(source).map(|(name, ..)| name.to_owned()));
        if file == "error" {
            config.after_includes = Some(error_constants());
        }
        let mut text = Vec::new();
        cbindgen::Builder::new()
            .with_config(config)
            .with_src(root.join(format!("src/ffi/{file}.rs")))
            .generate()
            .unwrap_or_else(|error| panic!("src/ffi/{file}.rs: {error}"))
            .write(&mut text);
        String::from_utf8(text).expect("cbindgen writes UTF-8").replace('`', "")
    }

    fn error_constants() -> String {
        let mut text = String::new();
        for code in table::Code::ALL {
            let row = code.row();
            let name = row.name.to_uppercase();
            writeln!(text, "/** {}. */\n#define ESF_E_{name} {}", row.message, row.code)
                .expect("a String takes all");
        }
        text
    }

    /// A file's `layout!` table: names, sizes, and fields as text.
    fn layouts(source: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        let start = source.find("\nlayout! {").map_or("", |start| &source[start + "\nlayout! {".len()..]);
        let table = start.split_once("\n}").map_or("", |(table, _)| table);
        table.split('}').filter(|record| !record.trim().is_empty()).map(|record| {
            let (head, fields) = record.split_once('{').expect("a layout has fields");
            let (name, size) = head.trim().split_once(' ').expect("a layout states the size");
            (name, size, fields)
        })
    }

    /// A file's layouts as C assertions.
    fn assertions(source: &str) -> String {
        let mut text = String::new();
        for (name, size, fields) in layouts(source) {
            writeln!(text, "ESF_LAYOUT(sizeof({name}) == {size});").expect("a String takes all");
            for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
                let (field, offset) = field.split_once(' ').expect("a field has an offset");
                let field = field.trim_start_matches("r#");
                writeln!(text, "ESF_LAYOUT(offsetof({name}, {field}) == {offset});")
                    .expect("a String takes all");
            }
        }
        text
    }
}
