//! The committed C header: it is what `build.rs` makes, documents every function, declares what `src/ffi`
//! exports, and keeps the ABI that was recorded.
//!
//! `make header` (which sets `ESF_REGENERATE=1`) writes the header anew and adds what is new to the record. It
//! removes and changes no line of the record but those of structs that grew at their end: see docs/abi-policy.md.

#![expect(clippy::disallowed_methods, reason = "compares committed files, which no storage seam stands for")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use elixirscope_foundation::ffi::abi::ESF_ABI_VERSION;

const MADE: &str = include_str!(concat!(env!("OUT_DIR"), "/elixirscope_foundation.h"));

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn regenerate() -> bool {
    std::env::var_os("ESF_REGENERATE").is_some()
}

/// The header's declarations, one a line: comments, line breaks and alignment are gone.
fn declarations(header: &str) -> BTreeSet<String> {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").expect("a comment ends").1;
    }
    code.push_str(rest);
    let mut found = BTreeSet::new();
    let mut statement = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            let mut directive = line.to_owned();
            while directive.ends_with('\\') {
                directive.pop();
                directive.push_str(lines.next().unwrap_or_default());
            }
            if directive.starts_with("#define ESF_") {
                found.insert(words(&directive));
            }
            continue;
        }
        statement.push_str(line);
        statement.push(' ');
        let whole = line.trim_end().ends_with(';')
            && statement.matches('{').count() == statement.matches('}').count();
        if whole {
            found.insert(words(&statement));
            statement.clear();
        } else if line.starts_with("extern \"C\"") || line == "}" {
            statement.clear();
        }
    }
    found.retain(|line| !line.contains("#define ESF_VERSION"));
    found
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of the function that this is a declaration of.
fn function(declaration: &str) -> Option<&str> {
    if declaration.starts_with("typedef") || declaration.starts_with(['#', 'E']) {
        return None;
    }
    let before = declaration.split_once('(')?.0;
    before.rsplit([' ', '*']).next()
}

#[test]
fn the_committed_header_is_what_the_build_makes() {
    let path = at_root("include/elixirscope_foundation.h");
    if regenerate() {
        fs::create_dir_all(at_root("include")).expect("the folder can be made");
        fs::write(&path, MADE).expect("the header can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let same = committed.lines().zip(MADE.lines()).take_while(|(a, b)| a == b).count();
    assert!(
        committed == MADE,
        "include/elixirscope_foundation.h differs from line {}: run `make header`",
        same + 1
    );
}

#[test]
fn every_function_is_documented() {
    let mut functions = 0;
    let mut missing = Vec::new();
    for part in MADE.split("\n/**").skip(1) {
        let (doc, after) = part.split_once("*/").expect("a comment ends");
        let declaration = words(after.split_once(';').map_or(after, |(first, _)| first));
        let Some(name) = function(&declaration).filter(|name| name.starts_with("esf_")) else { continue };
        functions += 1;
        for label in ["Errors: ", "Threads: ", "Ownership: "] {
            if !doc.contains(&format!("\n * {label}")) {
                missing.push(format!("{name} says nothing under {label:?}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let declared = declarations(MADE).iter().filter(|line| function(line).is_some()).count();
    assert_eq!(functions, declared, "functions without a comment");
}

#[test]
fn the_header_is_plain() {
    assert!(MADE.is_ascii());
    for (number, line) in MADE.lines().enumerate() {
        assert!(line.len() <= 115, "line {} is {} long", number + 1, line.len());
        assert_eq!(line.trim_end(), line, "line {} ends in blanks", number + 1);
    }
    for comment in MADE.split("/*").skip(1) {
        assert!(!comment.contains('`') || comment.starts_with("\n * ElixirScope"), "Markdown in {comment}");
    }
}

#[test]
fn comments_speak_of_names_that_exist() {
    // Everything but the comments defines; the comments mention.
    let mut code = String::new();
    let mut mentioned = BTreeSet::new();
    let mut rest = MADE;
    while let Some((before, comment)) = rest.split_once("/*") {
        let (comment, after) = comment.split_once("*/").expect("a comment ends");
        code.push_str(before);
        mentioned.extend(names(comment));
        rest = after;
    }
    code.push_str(rest);
    let defined: BTreeSet<_> = names(&code).collect();
    let unknown: Vec<_> = mentioned
        .difference(&defined)
        // A name that ends in an underscore stands for all that begin with it.
        .filter(|name| !(name.ends_with('_') && defined.iter().any(|other| other.starts_with(**name))))
        .collect();
    assert!(unknown.is_empty(), "comments mention {unknown:?}");
}

/// The words of a text that are names of ours.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("esf_") || word.starts_with("ESF_"))
}

#[test]
fn the_header_declares_every_export_and_nothing_else() {
    let mut exported = BTreeSet::new();
    for entry in fs::read_dir(at_root("src/ffi")).expect("src/ffi is there") {
        let path = entry.expect("src/ffi can be read").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).expect("the file can be read");
        for after in source.split("\n#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn ").skip(1) {
            exported.extend(after.split_once('(').map(|(name, _)| name.to_owned()));
        }
    }
    exported.retain(|name| !name.starts_with("esf__"));
    let declarations = declarations(MADE);
    let declared: BTreeSet<_> =
        declarations.iter().filter_map(|line| function(line)).map(str::to_owned).collect();
    assert_eq!(exported, declared);
    assert!(declared.len() > 40);
}

/// Whether a recorded line is one of a struct that has grown at its end since, as structs with a size may; a field
/// called `reserved`, which had to be 0, may have got a name.
fn grew(recorded: &str, current: &BTreeSet<String>) -> bool {
    let same_start = |line: &String| {
        let (mut old, mut new) = (recorded.split_whitespace(), line.split_whitespace());
        old.by_ref().take_while(|word| *word != "}").all(|old| {
            let new = new.next();
            new == Some(old) || (old == "reserved;" && new.is_some_and(|new| new.ends_with(';')))
                // The last value of an initialiser is followed by more.
                || new.and_then(|new| new.strip_suffix(',')) == Some(old)
        })
    };
    let layout = |line: &str| -> Option<(String, String, u64)> {
        let (what, number) = line.strip_prefix("ESF_LAYOUT(")?.strip_suffix(");")?.split_once(" == ")?;
        let (kind, of) = what.trim_end_matches(')').split_once('(')?;
        Some((kind.to_owned(), of.to_owned(), number.parse().ok()?))
    };
    if let Some((kind, of, number)) = layout(recorded) {
        let sized = |name: &str| current.contains(&format!("ESF_LAYOUT(offsetof({name}, size) == 0);"));
        return current.iter().filter_map(|line| layout(line)).any(|(new_kind, new_of, new_number)| {
            kind == new_kind
                && match of.split_once(", ") {
                    None => of == new_of && new_number > number && sized(&of),
                    Some((name, "reserved")) => {
                        new_number == number && new_of.starts_with(&format!("{name}, ")) && sized(name)
                    }
                    Some(_) => false,
                }
        });
    }
    let sized = recorded.contains("{ uint32_t size;") || recorded.contains("_INIT { (uint32_t)sizeof(");
    sized && current.iter().any(same_start)
}

#[test]
fn a_struct_may_grow_at_its_end_and_change_nowhere_else() {
    let now = [
        "typedef struct esf_x { uint32_t size; uint32_t flags; esf_str a; uint64_t b; } esf_x;",
        "#define ESF_X_INIT { (uint32_t)sizeof(esf_x), 0, ESF_STR_INIT, 0 }",
        "ESF_LAYOUT(sizeof(esf_x) == 32);",
        "ESF_LAYOUT(offsetof(esf_x, size) == 0);",
        "ESF_LAYOUT(offsetof(esf_x, flags) == 4);",
        "ESF_LAYOUT(sizeof(esf_str) == 16);",
    ];
    let now = now.map(str::to_owned).into();
    for fine in [
        "typedef struct esf_x { uint32_t size; uint32_t reserved; esf_str a; } esf_x;",
        "#define ESF_X_INIT { (uint32_t)sizeof(esf_x), 0, ESF_STR_INIT }",
        "ESF_LAYOUT(sizeof(esf_x) == 24);",
        "ESF_LAYOUT(offsetof(esf_x, reserved) == 4);",
    ] {
        assert!(grew(fine, &now), "{fine}");
    }
    for broken in [
        "typedef struct esf_x { uint32_t size; uint32_t other; esf_str a; } esf_x;",
        "typedef struct esf_x { uint32_t size; uint32_t flags; uint64_t b; } esf_x;",
        "typedef struct esf_x { uint32_t size; uint32_t flags; esf_str a; uint64_t b; int c; } esf_x;",
        "#define ESF_X_INIT { (uint32_t)sizeof(esf_x), 1, ESF_STR_INIT }",
        "ESF_LAYOUT(sizeof(esf_x) == 40);",
        "ESF_LAYOUT(sizeof(esf_str) == 8);",
        "ESF_LAYOUT(offsetof(esf_x, reserved) == 8);",
        "ESF_LAYOUT(offsetof(esf_x, flags) == 8);",
        "esf_status esf_gone(void);",
    ] {
        assert!(!grew(broken, &now), "{broken}");
    }
}

#[test]
fn the_recorded_abi_still_holds() {
    let name = format!("tests/abi/{ESF_ABI_VERSION}.txt");
    let recorded = fs::read_to_string(at_root(&name)).unwrap_or_default();
    let recorded: BTreeSet<_> = recorded.lines().map(str::to_owned).collect();
    let current = declarations(MADE);
    let gone: Vec<_> = recorded.difference(&current).filter(|line| !grew(line, &current)).cloned().collect();
    assert!(
        gone.is_empty(),
        "these declarations of ABI {ESF_ABI_VERSION} are changed or gone; a compiled program may rely on them. \
         Bring them back or raise ESF_ABI_VERSION (docs/abi-policy.md):\n{}",
        gone.join("\n")
    );
    if regenerate() {
        let text: String = current.iter().map(String::as_str).collect::<Vec<_>>().join("\n") + "\n";
        fs::create_dir_all(at_root("tests/abi")).expect("the folder can be made");
        fs::write(at_root(&name), text).expect("the record can be written");
        return;
    }
    let new: Vec<_> = current.difference(&recorded).cloned().collect();
    assert!(new.is_empty(), "not in {name} yet; run `make header`:\n{}", new.join("\n"));
}
