//! Nodes and pids as text and back. A pid is `<0.123.0>` for a process of this node, `<name@host.123.0/7>` with the creation of its
//! node for one of another, so that a pid comes back exactly and people can read it in any language.
//!
//! Atoms and local pids are immediate terms: the word says all there is to it. Threads remember the text of the
//! last few words, and the word of the last few texts.

use std::cell::RefCell;
use std::fmt::Write;

use elixirscope_foundation::error::Error;
use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, LocalPid, Term};

use crate::terms::{self, atom_text, is_nil, mismatch};

const SLOTS: usize = 64;
const MAX_LOCAL_TEXT: usize = 40;
/// External term format: version, NEW_PID_EXT, atoms in UTF-8.
const VERSION: u8 = 131;
const PID: u8 = 88;
const SMALL_ATOM: u8 = 119;
const ATOM: u8 = 118;
const OLD_ATOM: u8 = 100;

#[derive(Clone, Copy)]
struct Known {
    word: Option<ErlNifTerm>,
    len: u8,
    text: [u8; MAX_LOCAL_TEXT],
}

const NONE: Known = Known { word: None, len: 0, text: [0; MAX_LOCAL_TEXT] };

impl Known {
    fn text(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }
}

thread_local! {
    static NODE: RefCell<(Option<ErlNifTerm>, String)> = const { RefCell::new((None, String::new())) };
    static BY_WORD: RefCell<[Known; SLOTS]> = const { RefCell::new([NONE; SLOTS]) };
    static BY_TEXT: RefCell<[Known; SLOTS]> = const { RefCell::new([NONE; SLOTS]) };
}

/// Calls `body` with the node's text; nil is no text.
#[inline]
pub(crate) fn with_node<R>(term: Term<'_>, body: impl FnOnce(&str) -> Result<R, Error>) -> Result<R, Error> {
    NODE.with(|last| {
        let known = last.try_borrow().ok().filter(|last| last.0 == Some(term.as_c_arg()));
        let other;
        let text = if let Some(known) = &known {
            &known.1
        } else {
            other = node_text(term)?;
            if let Ok(mut known) = last.try_borrow_mut() {
                *known = (Some(term.as_c_arg()), other.clone());
            }
            &other
        };
        body(text)
    })
}

#[cold]
fn node_text(term: Term<'_>) -> Result<String, Error> {
    if is_nil(term) {
        return Ok(String::new());
    }
    atom_text(term).ok_or_else(|| mismatch("node", term, "an atom or nil"))
}

/// Calls `body` with the pid's text; nil is no text.
#[inline]
pub(crate) fn with_pid<R>(term: Term<'_>, body: impl FnOnce(&str) -> Result<R, Error>) -> Result<R, Error> {
    let word = term.as_c_arg();
    let slot = (terms::word(term) >> 4) % SLOTS;
    let known = BY_WORD.with(|table| table.borrow().get(slot).copied()).unwrap_or(NONE);
    let other;
    let text = if known.word == Some(word) {
        std::str::from_utf8(known.text()).unwrap_or_default()
    } else {
        other = pid_text(term, slot)?;
        &other
    };
    body(text)
}

#[cold]
fn pid_text(term: Term<'_>, slot: usize) -> Result<String, Error> {
    if !is_nil(term) && term.decode::<LocalPid>().is_err() {
        return remote_text(term).ok_or_else(|| mismatch("pid", term, "a pid or nil"));
    }
    let mut text = String::with_capacity(MAX_LOCAL_TEXT);
    if !is_nil(term) {
        // Writing into a string does not fail.
        let _ = write!(text, "{term:?}");
    }
    if let Some(known) = remember(term.as_c_arg(), &text) {
        BY_WORD.with(|table| {
            if let Some(place) = table.borrow_mut().get_mut(slot) {
                *place = known;
            }
        });
    }
    Ok(text)
}

/// The pid of this text; text that is none comes back as it is. `own` is some process of this node: where the
/// environment is that of a process, it may be left out.
pub(crate) fn pid_from_text<'a>(env: Env<'a>, text: &str, own: Option<LocalPid>) -> Term<'a> {
    let slot = text.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % SLOTS;
    let known = BY_TEXT.with(|table| table.borrow().get(slot).copied()).unwrap_or(NONE);
    if let Some(word) = known.word
        && known.text() == text.as_bytes()
    {
        // SAFETY: the word was taken from a local pid that the VM made of this very text; such terms are
        // immediates, valid in every environment for as long as the VM lives.
        return unsafe { Term::new(env, word) };
    }
    let Some(pid) = parse(env, text, own) else { return text.encode(env) };
    if pid.decode::<LocalPid>().is_ok()
        && let Some(known) = remember(pid.as_c_arg(), text)
    {
        BY_TEXT.with(|table| {
            if let Some(place) = table.borrow_mut().get_mut(slot) {
                *place = known;
            }
        });
    }
    pid
}

fn remember(word: ErlNifTerm, text: &str) -> Option<Known> {
    let mut known = Known { word: Some(word), len: text.len() as u8, ..NONE };
    known.text.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(known)
}

/// Name, id, serial and creation of a pid, from its external form.
fn remote_text(term: Term<'_>) -> Option<String> {
    if !term.is_pid() {
        return None;
    }
    let bytes = term.to_binary();
    let (name, numbers) = match bytes.as_slice() {
        [VERSION, PID, SMALL_ATOM, len, rest @ ..] => rest.split_at_checked(usize::from(*len))?,
        [VERSION, PID, ATOM | OLD_ATOM, high, low, rest @ ..] => {
            rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?
        }
        _ => return None,
    };
    let name = std::str::from_utf8(name).ok()?;
    let [id, serial, creation] = numbers_of(numbers)?;
    Some(format!("<{name}.{id}.{serial}/{creation}>"))
}

fn numbers_of(bytes: &[u8]) -> Option<[u32; 3]> {
    let mut numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

fn parse<'a>(env: Env<'a>, text: &str, own: Option<LocalPid>) -> Option<Term<'a>> {
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    if let Some(local) = inner.strip_prefix("0.") {
        let (id, serial) = local.split_once('.')?;
        // The node's own name and creation, as they stand in a pid of it.
        let own = own.unwrap_or_else(|| env.pid()).encode(env).to_binary();
        let prefix_len = own.len().checked_sub(12)?;
        let creation = own.get(prefix_len + 8..)?.try_into().ok().map(u32::from_be_bytes)?;
        let prefix = own.get(..prefix_len)?;
        return build(env, prefix, id.parse().ok()?, serial.parse().ok()?, creation);
    }
    let (rest, creation) = inner.rsplit_once('/')?;
    let (rest, serial) = rest.rsplit_once('.')?;
    let (name, id) = rest.rsplit_once('.')?;
    let mut prefix = vec![VERSION, PID, SMALL_ATOM, u8::try_from(name.len()).ok()?];
    prefix.extend_from_slice(name.as_bytes());
    build(env, &prefix, id.parse().ok()?, serial.parse().ok()?, creation.parse().ok()?)
}

fn build<'a>(env: Env<'a>, prefix: &[u8], id: u32, serial: u32, creation: u32) -> Option<Term<'a>> {
    let mut bytes = prefix.to_vec();
    for number in [id, serial, creation] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    env.binary_to_term(&bytes).map(|(term, _)| term)
}
