//! From a list of atoms to a configuration key, without text: a small tree of the schema's path segments, in
//! which an atom is compared as the word that it is. It is built once, when the library is loaded.

use std::sync::OnceLock;

use elixirscope_foundation::config::{KeyKind, schema};
use elixirscope_foundation::error::{Code, Error};
use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::{Env, Term};

use crate::terms::{Items, atom_text, mismatch};

/// Where a path leads: to a key, or to a section with others below it.
#[derive(Default)]
pub(crate) struct Node {
    children: Vec<(ErlNifTerm, Node)>,
    key: Option<usize>,
}

impl Node {
    /// The key's number in the schema; `None` for a section.
    #[inline]
    pub(crate) fn key(&self) -> Option<usize> {
        self.key
    }

    /// What lies directly below, under its atom.
    pub(crate) fn children<'a>(&self, env: Env<'a>) -> impl Iterator<Item = (Term<'a>, &Self)> {
        // SAFETY: the words are those of atoms, which are immediates that are never collected: valid in every
        // environment for as long as the VM lives.
        self.children.iter().map(move |(word, node)| (unsafe { Term::new(env, *word) }, node))
    }
}

/// The words of the schema as atoms.
pub(crate) struct Paths {
    root: Node,
    /// For each key, the atoms of the words that it may hold, in the schema's order.
    words: Vec<Vec<(&'static str, Atom)>>,
}

static PATHS: OnceLock<Paths> = OnceLock::new();

/// Builds the tree; called once, while the library is being loaded.
pub(crate) fn prepare(env: Env<'_>) -> bool {
    Paths::new(env).is_some_and(|paths| PATHS.set(paths).is_ok())
}

/// The tree.
#[inline]
pub(crate) fn paths() -> Result<&'static Paths, Error> {
    PATHS.get().ok_or_else(|| Error::new(Code::InternalError, "the native library was not loaded completely"))
}

impl Paths {
    fn new(env: Env<'_>) -> Option<Self> {
        let mut root = Node::default();
        let mut words = Vec::with_capacity(schema().keys().len());
        for (number, key) in schema().keys().iter().enumerate() {
            let mut node = &mut root;
            for part in key.path.split('.') {
                let word = Atom::from_str(env, part).ok()?.as_c_arg();
                let known = node.children.iter().position(|(other, _)| *other == word);
                let at = known.unwrap_or_else(|| {
                    node.children.push((word, Node::default()));
                    node.children.len() - 1
                });
                node = &mut node.children.get_mut(at)?.1;
            }
            node.key = Some(number);
            let (KeyKind::Enum { allowed } | KeyKind::EnumOrInt { allowed, .. }) = key.kind else {
                words.push(vec![]);
                continue;
            };
            let atoms: Option<Vec<_>> =
                allowed.iter().map(|word| Atom::from_str(env, word).ok().map(|atom| (*word, atom))).collect();
            words.push(atoms?);
        }
        Some(Self { root, words })
    }

    /// Where this list of atoms leads; `None` when the schema has nothing there.
    #[inline]
    pub(crate) fn find(&self, path: Term<'_>) -> Result<Option<&Node>, Error> {
        let mut node = &self.root;
        let mut items = Items::new("the path", path);
        while let Some(item) = items.step() {
            let word = item.as_c_arg();
            match node.children.iter().find(|(other, _)| *other == word) {
                Some((_, child)) => node = child,
                None => return Ok(None),
            }
        }
        items.end()?;
        Ok(Some(node))
    }

    /// The atom of a word that the key may hold.
    #[inline]
    pub(crate) fn word(&self, key: usize, word: &str) -> Option<Atom> {
        let words = self.words.get(key)?;
        words.iter().find(|(known, _)| *known == word).map(|(_, atom)| *atom)
    }
}

/// The dotted path of a list of atoms, for what goes by text.
pub(crate) fn dotted(path: Term<'_>) -> Result<String, Error> {
    let mut text = String::new();
    for item in Items::new("the path", path) {
        let item = item?;
        let part = atom_text(item).ok_or_else(|| mismatch("a part of the path", item, "an atom"))?;
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&part);
    }
    Ok(text)
}
