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
        different.unwrap_or_else(|| found.lines().count().min(text.lines().count())) + 1
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

/// A list of strings, one a line, the way `mix format` leaves it.
fn string_list(indent: &str, items: &[&str]) -> String {
    let lines: Vec<_> = items.iter().map(|item| format!("{indent}  {}", quoted(item))).collect();
    format!("[\n{}\n{indent}]", lines.join(",\n"))
}

fn elixir_table() -> String {
    let rows: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            let row = code.row();
            let words = format!(
                "{} {} {} {} {} {} {} {}",
                row.code,
                code.hierarchical(),
                row.name,
                row.category.name(),
                row.subcategory,
                row.severity.name(),
                row.retry.name(),
                row.since
            );
            format!("    {{\n      {},\n      {}\n    }}", quoted(&words), quoted(row.message))
        })
        .collect();
    let others = Code::ExternalError.recovery_actions();
    let actions: Vec<_> = Code::ALL
        .iter()
        .filter(|code| code.recovery_actions() != others)
        .map(|code| format!("    {}: {}", code.row().name, string_list("    ", code.recovery_actions())))
        .collect();
    ELIXIR_TABLE
        .replace("@ROWS@", &rows.join(",\n"))
        .replace("@ACTIONS@", &actions.join(",\n"))
        .replace("@OTHERS@", &string_list("  ", others))
}

const ELIXIR_TABLE: &str = r#"defmodule ElixirScope.Foundation.Error.Table do
  @moduledoc false
  # Generated from src/error/table.rs by `make header`; do not edit.

  # code, hierarchical code, type, category, subcategory, severity, retry strategy, since; and the message
  @table [
@ROWS@
  ]

  @recovery_actions %{
@ACTIONS@
  }

  @other_recovery_actions @OTHERS@

  @rows Enum.map(@table, fn {words, message} ->
          [code, hierarchical, type, category, subcategory, severity, retry, since] = String.split(words)
          error_type = String.to_atom(type)

          %{
            code: String.to_integer(code),
            error_type: error_type,
            category: String.to_atom(category),
            subcategory: String.to_atom(subcategory),
            severity: String.to_atom(severity),
            retry_strategy: String.to_atom(retry),
            hierarchical: hierarchical,
            message: message,
            recovery_actions: Map.get(@recovery_actions, error_type, @other_recovery_actions),
            since: since
          }
        end)

  @type row :: %{
          code: pos_integer(),
          error_type: atom(),
          category: atom(),
          subcategory: atom(),
          severity: atom(),
          retry_strategy: atom(),
          hierarchical: String.t(),
          message: String.t(),
          recovery_actions: [String.t()],
          since: String.t()
        }

  @doc "Every row of the error table, in its order."
  @spec rows() :: [row(), ...]
  def rows, do: @rows
end
"#;

#[test]
fn the_error_page_is_what_the_table_makes() {
    committed_is("docs/errors.md", &errors_page());
}

#[test]
fn the_elixir_table_is_what_the_table_makes() {
    committed_is("bindings/elixir/lib/elixir_scope/foundation/error/table.ex", &elixir_table());
}
