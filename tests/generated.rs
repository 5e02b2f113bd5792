//! What is generated from the error table, compared with what is committed: `docs/errors.md` and the Elixir
//! binding's `error/table.ex`. `make header` (which sets `ESF_REGENERATE=1`) writes them anew.

#![expect(clippy::disallowed_methods, reason = "compares committed files, which no storage seam stands for")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use elixirscope_foundation::error::{Category, Code, Error, Retry};

/// The committed file must be this text; with `ESF_REGENERATE` set it is written instead.
fn committed_is(path: &str, text: &str) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("ESF_REGENERATE").is_some() {
        fs::create_dir_all(full.parent().expect("a file has a folder")).expect("the folder can be made");
        fs::write(&full, text).expect("the file can be written");
        return;
    }
    let found = fs::read_to_string(&full).unwrap_or_default();
    let different = found.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        found == text,
        "{path} is not what the error table makes (first difference in line {}): run `make header`",
        different.map_or_else(|| found.lines().count().min(text.lines().count()), |line| line) + 1
    );
}

fn letter(category: Category) -> String {
    category.letter().map_or_else(|| "none".to_owned(), String::from)
}

fn delays(retry: Retry) -> String {
    let waits: Vec<_> = (0..6).filter_map(|attempt| retry.delay_ms(attempt)).collect();
    match waits.as_slice() {
        [] => "do not retry: the same call fails again".to_owned(),
        [0, ..] => "at once".to_owned(),
        [first, second, ..] if first == second => format!("after {} s", first / 1_000),
        [..] => {
            let seconds: Vec<_> = waits.iter().map(|wait| (wait / 1_000).to_string()).collect();
            format!(
                "after {} s, and so on every {} s",
                seconds.join(", "),
                waits.last().map_or(0, |w| w / 1_000)
            )
        }
    }
}

fn errors_page() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Generated from `src/error/table.rs` by `make header`; do not edit.\n\n\
         A number is never changed and never reused. C gets it as the status (`ESF_E_…`), Elixir as `code` of\n\
         `%ElixirScope.Foundation.Error{}`, Rust as `code() as u32`; the name is the same word everywhere.\n\
         `reserved` in the last column: nothing returns it yet.\n\n",
    );
    let example = Error::new(Code::RangeError, "…").hierarchical();
    let _ = write!(
        page,
        "The hierarchical code is the category's letter and the last three digits: {} is `{example}`.\n\n",
        Code::RangeError as u32
    );
    page.push_str("## Codes\n\n");
    for category in
        [Category::Config, Category::System, Category::Data, Category::External, Category::Unknown]
    {
        let _ = write!(page, "### {} (letter: {})\n\n", category.name(), letter(category));
        page.push_str("| code | | name | about | severity | retry | meaning | since |\n");
        page.push_str("| ---: | --- | --- | --- | --- | --- | --- | --- |\n");
        for code in Code::ALL.iter().filter(|code| code.row().category == category) {
            let row = code.row();
            let _ = writeln!(
                page,
                "| {} | {} | `{}` | {} | {} | {} | {} | {} |",
                row.code,
                code.hierarchical(),
                row.name,
                row.subcategory,
                row.severity.name(),
                row.retry.name(),
                row.message,
                row.since
            );
        }
        page.push('\n');
    }
    page.push_str("## When to retry\n\n| strategy | what it says |\n| --- | --- |\n");
    for retry in [Retry::NoRetry, Retry::Immediate, Retry::FixedDelay, Retry::ExponentialBackoff] {
        let _ = writeln!(page, "| {} | {} |", retry.name(), delays(retry));
    }
    page.push_str("\n## What a person can do\n\n| name | most likely remedy first |\n| --- | --- |\n");
    let others = Code::ExternalError.recovery_actions();
    for code in Code::ALL.iter().filter(|code| code.recovery_actions() != others) {
        let _ = writeln!(page, "| `{}` | {} |", code.row().name, code.recovery_actions().join(" · "));
    }
    let _ = writeln!(page, "| every other one | {} |", others.join(" · "));
    page
}

/// An Elixir string literal.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace("#{", "\\#{"))
}

fn elixir_table() -> String {
    let mut module = String::from(
        "defmodule ElixirScope.Foundation.Error.Table do\n\
         \x20 @moduledoc false\n\
         \x20 # Generated from src/error/table.rs by `make header`; do not edit.\n\n\
         \x20 @rows [\n",
    );
    for (index, code) in Code::ALL.iter().enumerate() {
        let row = code.row();
        let actions: Vec<_> =
            code.recovery_actions().iter().map(|action| format!("        {}", quoted(action))).collect();
        let _ = write!(
            module,
            "    %{{\n\
             \x20     code: {},\n\
             \x20     error_type: :{},\n\
             \x20     category: :{},\n\
             \x20     subcategory: :{},\n\
             \x20     severity: :{},\n\
             \x20     retry_strategy: :{},\n\
             \x20     hierarchical: {},\n\
             \x20     message: {},\n\
             \x20     recovery_actions: [\n{}\n      ],\n\
             \x20     since: {}\n\
             \x20   }}{}\n",
            row.code,
            row.name,
            row.category.name(),
            row.subcategory,
            row.severity.name(),
            row.retry.name(),
            quoted(&code.hierarchical()),
            quoted(row.message),
            actions.join(",\n"),
            quoted(row.since),
            if index + 1 == Code::ALL.len() { "" } else { "," }
        );
    }
    module.push_str(
        "  ]\n\n\
         \x20 @type row :: %{\n\
         \x20         code: pos_integer(),\n\
         \x20         error_type: atom(),\n\
         \x20         category: atom(),\n\
         \x20         subcategory: atom(),\n\
         \x20         severity: atom(),\n\
         \x20         retry_strategy: atom(),\n\
         \x20         hierarchical: String.t(),\n\
         \x20         message: String.t(),\n\
         \x20         recovery_actions: [String.t()],\n\
         \x20         since: String.t()\n\
         \x20       }\n\n\
         \x20 @doc \"Every row of the error table, in its order.\"\n\
         \x20 @spec rows() :: [row(), ...]\n\
         \x20 def rows, do: @rows\n\
         end\n",
    );
    module
}

#[test]
fn the_error_page_is_what_the_table_makes() {
    committed_is("docs/errors.md", &errors_page());
}

#[test]
fn the_elixir_table_is_what_the_table_makes() {
    committed_is("bindings/elixir/lib/elixir_scope/foundation/error/table.ex", &elixir_table());
}
