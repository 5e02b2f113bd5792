//! Every NIF's body is exactly one call of `guard`: no panic and no error can leave it in another way.
#![allow(clippy::disallowed_methods, reason = "the test reads the sources")]

use syn::{Attribute, Expr, Item, ItemFn, Stmt};

fn is_nif(attribute: &Attribute) -> bool {
    let segments: Vec<_> =
        attribute.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
    segments == ["rustler", "nif"]
}

/// The functions that `quick_nif!` makes NIFs of, by the first word in it.
fn quick_nifs(items: &[Item]) -> Vec<String> {
    let macros = items.iter().filter_map(|item| match item {
        Item::Macro(item) if item.mac.path.is_ident("quick_nif") => {
            item.mac.tokens.clone().into_iter().next()
        }
        _ => None,
    });
    macros.map(|name| name.to_string()).collect()
}

fn is_one_guard(function: &ItemFn) -> bool {
    let [Stmt::Expr(Expr::Call(call), None)] = function.block.stmts.as_slice() else { return false };
    matches!(call.func.as_ref(), Expr::Path(path) if path.path.is_ident("guard"))
}

#[test]
fn every_nif_is_one_guard() {
    let mut nifs = vec![];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let path = entry.unwrap().path();
        let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let quick = quick_nifs(&file.items);
        for item in file.items {
            let Item::Fn(function) = item else { continue };
            if function.attrs.iter().any(is_nif) || quick.contains(&function.sig.ident.to_string()) {
                assert!(is_one_guard(&function), "{}: {}", path.display(), function.sig.ident);
                nifs.push(function.sig.ident.to_string());
            }
        }
    }
    assert!(nifs.len() > 40, "the test found only {nifs:?}");
}

#[test]
fn quick_nifs_are_found() {
    let file = syn::parse_file("quick_nif!(one(a, b)); fn two() {} other!(three);").unwrap();
    assert_eq!(quick_nifs(&file.items), ["one"]);
}

#[test]
fn a_body_beside_the_guard_is_found() {
    let two: ItemFn = syn::parse_quote! { fn f() { let x = 1; guard(x, || Ok(x)) } };
    let other: ItemFn = syn::parse_quote! { fn f() { unguarded(1) } };
    let good: ItemFn = syn::parse_quote! { fn f() { guard(env, || Ok(1)) } };
    assert!(!is_one_guard(&two) && !is_one_guard(&other) && is_one_guard(&good));
}
