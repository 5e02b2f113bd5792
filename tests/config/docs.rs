//! `docs/configuration.md` says what the schema says.

#![allow(clippy::disallowed_methods, reason = "the page is a file of the repository")]

use elixirscope_foundation::config::schema;

#[test]
fn the_reference_page_is_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = schema().to_markdown();
    if std::env::var_os("ESF_REGENERATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == page, "docs/configuration.md differs: run `make header` (ESF_REGENERATE=1)");
    for key in schema().keys() {
        assert_eq!(page.matches(&format!("| `{}` |", key.path)).count(), 1, "{}", key.path);
    }
}
