//! Every export of the C ABI is guarded: its whole body is one `guard!`, so that no panic and no unchecked
//! argument gets past it.

#![expect(
    clippy::disallowed_methods,
    reason = "reads the crate's own sources, which no storage seam stands for"
)]

use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Block, ItemFn, ItemMacro, Meta, Stmt};

/// The exports of a file and what is wrong with them.
#[derive(Default)]
struct Exports {
    /// Functions with a name for the linker; in `src/ffi`, those that C could call by pointer as well.
    found: Vec<String>,
    complaints: Vec<String>,
    in_ffi: bool,
}

impl Exports {
    fn of(source: &str, in_ffi: bool) -> Self {
        let mut exports = Self { in_ffi, ..Self::default() };
        exports.visit_file(&syn::parse_file(source).expect("the source is Rust"));
        exports
    }
}

impl<'ast> Visit<'ast> for Exports {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let exported = item.attrs.iter().any(exports);
        if exported || (self.in_ffi && item.sig.abi.is_some()) {
            let name = item.sig.ident.to_string();
            if !is_one_guard(&item.block) {
                self.complaints.push(format!("{name}: the body is not exactly one guard!"));
            }
            if !exported || !name.starts_with("esf_") {
                self.complaints.push(format!("{name}: an export is no_mangle and begins with esf_"));
            }
            if item.sig.unsafety.is_none() {
                self.complaints.push(format!("{name}: an export takes C's pointers and is unsafe"));
            }
            self.found.push(name);
        }
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        if item.mac.tokens.to_string().contains("no_mangle") {
            self.complaints.push("a macro makes exports, which cbindgen and this test do not see".to_owned());
        }
    }
}

fn exports(attribute: &Attribute) -> bool {
    fn names(meta: &Meta) -> bool {
        meta.path().is_ident("no_mangle") || meta.path().is_ident("export_name")
    }
    match &attribute.meta {
        Meta::List(list) if list.path.is_ident("unsafe") => list.parse_args().is_ok_and(|meta| names(&meta)),
        meta => names(meta),
    }
}

fn is_one_guard(block: &Block) -> bool {
    let path = match block.stmts.as_slice() {
        [Stmt::Macro(only)] if only.semi_token.is_none() => &only.mac.path,
        [Stmt::Expr(syn::Expr::Macro(only), None)] => &only.mac.path,
        _ => return false,
    };
    path.is_ident("guard")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_export_is_exactly_one_guard() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut complaints = Vec::new();
    let mut count = 0;
    for file in sources(&root) {
        let source = fs::read_to_string(&file).expect("the file can be read");
        let in_ffi = file.starts_with(root.join("ffi"));
        let exports = Exports::of(&source, in_ffi);
        if !in_ffi && !exports.found.is_empty() {
            complaints.push(format!("{}: exports belong in src/ffi", file.display()));
        }
        count += exports.found.len();
        complaints.extend(exports.complaints.iter().map(|text| format!("{}: {text}", file.display())));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(count > 40, "only {count} exports were found: this test looks in the wrong place");
}

#[test]
fn an_export_without_a_guard_is_found() {
    let guarded =
        "#[unsafe(no_mangle)] pub unsafe extern \"C\" fn esf_a() -> i32 { guard! { hot => { 1 } } }";
    assert!(Exports::of(guarded, true).complaints.is_empty());
    let bad = [
        "#[unsafe(no_mangle)] pub unsafe extern \"C\" fn esf_a() -> i32 { 1 }",
        "#[unsafe(no_mangle)] pub unsafe extern \"C\" fn esf_a() -> i32 { let x = 1; guard! { hot => { x } } }",
        "#[unsafe(no_mangle)] pub unsafe extern \"C\" fn esf_a() -> i32 { gard! { hot => { 1 } } }",
        "#[unsafe(no_mangle)] pub unsafe extern \"C\" fn other() -> i32 { guard! { hot => { 1 } } }",
        "#[unsafe(export_name = \"esf_b\")] pub fn esf_a() -> i32 { 1 }",
        "mod inner { pub unsafe extern \"C\" fn esf_a() -> i32 { guard! { hot => { 1 } } } }",
        "#[unsafe(no_mangle)] pub extern \"C\" fn esf_a() -> i32 { guard! { hot => { 1 } } }",
        "make! { #[no_mangle] fn esf_a() {} }",
    ];
    for source in bad {
        assert!(!Exports::of(source, true).complaints.is_empty(), "not found: {source}");
    }
}
