//! The schema as a reference page: `docs/configuration.md` is what [`Schema::to_markdown`] returns.

use std::fmt::Write;

use super::defaults::UPDATABLE_PATHS;
use super::schema::{KeySpec, Schema};

const HEAD: &str = "\
# Configuration reference

<!-- Made from the schema by `schema().to_markdown()`; `make header` rewrites it. -->

A value that a key does not allow is refused with the error in the last column; all refused values are
reported at once, in `context.violations`, and nothing changes. Keys marked *updatable* may change while
the instance runs; the others are set when it opens. Words are JSON strings.
";

const TAIL: &str = "
## Other errors

| what | error |
| --- | --- |
| a key that the schema does not have | `unknown_config_key` |
| a section that is no object | `invalid_config_structure` |
| a complete tree without a section, or without `ai.provider` | `missing_required_field` |
| a complete tree without another required key | `validation_failed` |
| an update of a path that is not updatable | `config_update_forbidden` |
| a path with an empty part, or longer than 1,024 bytes | `invalid_path` |
| a path that leads nowhere | `config_path_not_found` |
";

impl Schema {
    /// The reference page of this schema, in Markdown.
    pub fn to_markdown(&self) -> String {
        let mut page = String::from(HEAD);
        let mut top = "";
        for key in self.keys() {
            let section = key.path.split('.').next().unwrap_or_default();
            if section != top {
                top = section;
                // Writing to a string cannot fail.
                let _ = write!(
                    page,
                    "\n## {section}\n\n| key | allowed | default | unit | updatable | what it is for | error |\n\
                     | --- | --- | --- | --- | --- | --- | --- |\n"
                );
            }
            page.push_str(&row(key));
        }
        page.push_str("\n## Updatable at run time\n\n");
        for path in UPDATABLE_PATHS {
            let _ = writeln!(page, "- `{path}`");
        }
        page.push_str(TAIL);
        page
    }
}

fn row(key: &KeySpec) -> String {
    let mut doc = key.doc.to_owned();
    if let Some(switch) = key.checked_when {
        let _ = write!(doc, " Checked when `{switch}` is true.");
    }
    if key.secret {
        doc.push_str(" Secret: never shown in errors, events and notifications.");
    }
    format!(
        "| `{}` | {} | `{}` | {} | {} | {} | `{}` |\n",
        key.path,
        key.expected(),
        key.default.to_value(),
        key.unit.unwrap_or(""),
        if key.updatable { "yes" } else { "" },
        doc,
        key.violation.row().name,
    )
}
