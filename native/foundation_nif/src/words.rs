//! Reading terms with fewer calls of the VM: small integers by their word, list cells and maps of few keys through
//! theirs, other maps and tuples pair by pair and element by element.
//!
//! The interface of NIFs says nothing about what a term's word means, though it has been the same for decades. So
//! [`prepare`] compares, when the library is loaded, what a few words say with what the VM says about the same terms;
//! where that differs, words are not trusted and the VM is asked about every term.
//!
//! # Invariants
//! - [`Words`] that are trusted exist only after `prepare` has seen that a word with `SMALL_TAG` is a small integer
//!   and one with `CELL_TAG` the address of a list cell, head before tail, and that no other kind of term has either.
//! - Their header of flat maps is known only after `prepare` has seen that the maps of few keys begin with it, that it
//!   is followed by their number, the tuple of the keys and the values, and that no other kind of term begins with it.
//! - Terms neither move nor change before the NIF that was given them returns.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustler::sys::{
    ErlNifMapIterator, ErlNifMapIteratorEntry, ErlNifTerm, enif_get_list_cell, enif_get_tuple,
    enif_map_iterator_create, enif_map_iterator_destroy, enif_map_iterator_get_pair, enif_map_iterator_next,
};
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::boundary::guard;
use crate::terms::{mismatch, word};

/// A small integer's word: its value, then these bits.
const SMALL_BITS: u32 = 4;
const SMALL_TAG: usize = 0b1111;
/// The word of a list that is not empty: the address of its first cell, with this tag.
const CELL_TAG: usize = 0b001;
const CELL_MASK: usize = 0b111;

/// The word of a term that lies in memory behind a header: its address, with this tag.
const BOXED_TAG: usize = 0b010;
const BOXED_MASK: usize = 0b111;
/// A tuple's header is its arity, above these bits, which are 0.
const ARITY_BITS: u32 = 6;
/// Maps of more keys are hash tables.
pub(crate) const MOST_KEYS: usize = 32;

static TRUSTED: AtomicBool = AtomicBool::new(false);
/// The header of maps of few keys; 0 where that is not known.
static FLAT: AtomicUsize = AtomicUsize::new(0);

/// Looks at how this VM makes words; called once, while the library is being loaded.
pub(crate) fn prepare(env: Env<'_>) {
    let small = |value: i64| word(value.encode(env)) == ((value as usize) << SMALL_BITS | SMALL_TAG);
    let smalls = [0, 1, -1, 255, 256, 1 << 31, -(1 << 31), (1 << 59) - 1, -(1 << 59)];
    let lists = [[1, 2].as_slice().encode(env), [env.pid().encode(env)].as_slice().encode(env)];
    let others = [
        (1_i64 << 59).encode(env),
        (-(1_i64 << 59) - 1).encode(env),
        i64::MAX.encode(env),
        atoms::nil().encode(env),
        env.pid().encode(env),
        Term::list_new_empty(env),
        1.5_f64.encode(env),
        (1, 2).encode(env),
        Term::map_new(env),
        "text".encode(env),
        env.make_ref().encode(env),
    ];
    let is_cell = |list: &Term<'_>| {
        if word(*list) & CELL_MASK != CELL_TAG {
            return false;
        }
        // SAFETY: the list was just made and is not empty. Its word has the tag of an address of a cell, which is what
        // this tag has stood for in every release of the VM.
        let cell = unsafe { read(word(*list)) };
        asked(*list).is_some_and(|(head, tail)| cell == [head.as_c_arg(), tail.as_c_arg()])
    };
    let known = smalls.into_iter().all(small)
        && lists.iter().chain(&others).all(|term| word(*term) & SMALL_TAG != SMALL_TAG)
        && others.iter().all(|term| word(*term) & CELL_MASK != CELL_TAG)
        && lists.iter().all(is_cell);
    TRUSTED.store(known, Ordering::Relaxed);
    FLAT.store(flat_header(env).filter(|_| known).unwrap_or_default(), Ordering::Relaxed);
}

/// The header of maps of few keys, if such maps are what [`Words::flat`] takes them for.
fn flat_header(env: Env<'_>) -> Option<usize> {
    let map = |size: usize| {
        let pair = |key: usize| (key.encode(env), (size, key).encode(env));
        let pairs: Vec<(Term<'_>, Term<'_>)> = (0..size).map(pair).collect();
        Term::map_from_pairs(env, &pairs).ok()
    };
    let boxed = |term: Term<'_>| (word(term) & BOXED_MASK == BOXED_TAG).then(|| word(term) - BOXED_TAG);
    // SAFETY: a word with this tag is the address of a term's header, which is what the tag has stood for in every
    // release of the VM; and the terms that this is called with were just made.
    let header = |term: Term<'_>| boxed(term).map(|at| unsafe { *(at as *const usize) });

    let words = Words { trusted: true, flat: header(map(1)?)? };
    let is_flat = |map: Term<'_>| {
        // Such a map is long enough to be read as one, whatever its words mean.
        let (Some(Flat { keys, values, .. }), Some(pairs)) = (words.flat(map), Pairs::new(map)) else {
            return false;
        };
        let pairs = pairs.map(|(key, value)| (key.as_c_arg(), value.as_c_arg()));
        pairs.eq(keys.iter().copied().zip(values.iter().copied()))
    };
    for size in 1..=MOST_KEYS {
        if !is_flat(map(size)?) {
            return None;
        }
    }
    let others = [
        map(MOST_KEYS + 1)?,
        1.5_f64.encode(env),
        i64::MAX.encode(env),
        i64::MIN.encode(env),
        (1,).encode(env),
        (1, 2).encode(env),
        "text".encode(env),
        "text that is too long to be kept on a process's heap, for which there are 64 bytes".encode(env),
        env.make_ref().encode(env),
    ];
    let atom_is_boxed = boxed(atoms::nil().encode(env)).is_some();
    (!atom_is_boxed && others.into_iter().all(|other| header(other) != Some(words.flat)))
        .then_some(words.flat)
}

/// Whether words are trusted, for the test of the way that is taken on other VMs: `true` is what [`prepare`] finds
/// out again.
#[rustler::nif]
fn test_words<'a>(env: Env<'a>, trusted: Term<'a>) -> Term<'a> {
    guard(env, || {
        if trusted.decode::<bool>().map_err(|_| mismatch("trusted", trusted, "a boolean"))? {
            prepare(env);
        } else {
            TRUSTED.store(false, Ordering::Relaxed);
            FLAT.store(0, Ordering::Relaxed);
        }
        Ok(atoms::ok().encode(env))
    })
}

/// What words say, where they are trusted.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    trusted: bool,
    /// The header of flat maps, or 0.
    flat: usize,
}

impl Words {
    /// Asked once for many terms.
    #[inline]
    pub(crate) fn new() -> Self {
        Self { trusted: TRUSTED.load(Ordering::Relaxed), flat: FLAT.load(Ordering::Relaxed) }
    }

    /// The value of a small integer; `None` for another term, and for any where words are not trusted.
    #[inline]
    pub(crate) fn small(self, word: usize) -> Option<i64> {
        (self.trusted && word & SMALL_TAG == SMALL_TAG).then_some((word as i64) >> SMALL_BITS)
    }

    /// Head and tail of a list that is not empty; `None` for another term.
    #[inline]
    pub(crate) fn cell(self, list: Term<'_>) -> Option<(Term<'_>, Term<'_>)> {
        self.known_cell(list).or_else(|| asked(list))
    }

    /// Head and tail of a list that is not empty, where words are trusted.
    #[inline]
    fn known_cell(self, list: Term<'_>) -> Option<(Term<'_>, Term<'_>)> {
        let (env, word) = (list.get_env(), word(list));
        if !self.is_cell(word) {
            return None;
        }
        // SAFETY: words are trusted, so this is a list of its environment that is not empty, and its cell lies there.
        // Head and tail are terms of the same environment.
        unsafe {
            let [head, tail] = read(word);
            Some((Term::new(env, head), Term::new(env, tail)))
        }
    }

    /// Whether the word is that of a list that is not empty; never where words are not trusted.
    #[inline]
    pub(crate) fn is_cell(self, word: usize) -> bool {
        self.trusted && word & CELL_MASK == CELL_TAG
    }

    /// Whether the word is that of a term with a header, which atoms are not; never where such terms are not known.
    #[inline]
    pub(crate) fn is_boxed(self, word: usize) -> bool {
        self.flat != 0 && word & BOXED_MASK == BOXED_TAG
    }

    /// Head and tail of a list that begins with a small integer; `None` for another term, and for any where words are
    /// not trusted.
    #[inline]
    pub(crate) fn cell_of_small(self, list: Term<'_>) -> Option<(i64, Term<'_>)> {
        let (head, tail) = self.known_cell(list)?;
        Some((self.small(word(head))?, tail))
    }

    /// Keys and values of a map of few keys; `None` for another term, and for any where such maps are not known.
    #[inline]
    pub(crate) fn flat(self, map: Term<'_>) -> Option<Flat<'_>> {
        let word = word(map);
        if !self.is_boxed(word) {
            return None;
        }
        // SAFETY: the word has the tag of an address of a header. Only the header of a flat map is followed by the
        // number of its keys, the tuple of them and the values; tuples have their arity as header and then their
        // elements. None of that moves or changes while the NIF's environment lives.
        unsafe {
            let at = (word - BOXED_TAG) as *const usize;
            if *at != self.flat {
                return None;
            }
            let (size, tuple) = (*at.add(1), *at.add(2));
            if size > MOST_KEYS || tuple & BOXED_MASK != BOXED_TAG {
                return None;
            }
            let keys = (tuple - BOXED_TAG) as *const usize;
            if *keys != size << ARITY_BITS {
                return None;
            }
            Some(Flat {
                env: map.get_env(),
                keys: std::slice::from_raw_parts(keys.add(1).cast(), size),
                values: std::slice::from_raw_parts(at.add(3).cast(), size),
            })
        }
    }
}

/// A map of few keys where it lies: as many values as keys, in the map's order.
pub(crate) struct Flat<'a> {
    env: Env<'a>,
    keys: &'a [ErlNifTerm],
    values: &'a [ErlNifTerm],
}

impl<'a> Flat<'a> {
    /// How many pairs it has.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The words of its keys.
    #[inline]
    pub(crate) fn keys(&self) -> &'a [ErlNifTerm] {
        self.keys
    }

    /// The value at this place.
    #[inline]
    pub(crate) fn value(&self, place: usize) -> Option<Term<'a>> {
        // SAFETY: the word is a term of the map's environment.
        self.values.get(place).map(|word| unsafe { Term::new(self.env, *word) })
    }

    /// Its pairs.
    #[inline]
    pub(crate) fn pairs(self) -> impl Iterator<Item = (Term<'a>, Term<'a>)> {
        let env = self.env;
        // SAFETY: the words are terms of the map's environment.
        let term = move |word: &ErlNifTerm| unsafe { Term::new(env, *word) };
        self.keys.iter().map(term).zip(self.values.iter().map(term))
    }
}

/// The two words of a list cell.
///
/// # Safety
/// The word is that of a list that is not empty, with [`CELL_TAG`], of an environment that is alive.
#[inline]
unsafe fn read(word: usize) -> [ErlNifTerm; 2] {
    // SAFETY: as the caller promises, two words lie there, and a cell does not change while it is reachable.
    unsafe { *((word - CELL_TAG) as *const [ErlNifTerm; 2]) }
}

/// Head and tail of a list that is not empty, as the VM says.
fn asked(list: Term<'_>) -> Option<(Term<'_>, Term<'_>)> {
    let env = list.get_env();
    let (mut head, mut tail) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the term is of its environment; both places are written where the answer is 1.
    unsafe {
        let found = enif_get_list_cell(env.as_c_arg(), list.as_c_arg(), head.as_mut_ptr(), tail.as_mut_ptr());
        (found == 1).then(|| (Term::new(env, head.assume_init()), Term::new(env, tail.assume_init())))
    }
}

/// The pairs of a map, in its order.
pub(crate) struct Pairs<'a> {
    env: Env<'a>,
    at: ErlNifMapIterator,
}

impl<'a> Pairs<'a> {
    /// Begins at the first; `None` for what is no map.
    pub(crate) fn new(map: Term<'a>) -> Option<Self> {
        let env = map.get_env();
        let mut at = MaybeUninit::uninit();
        let first = ErlNifMapIteratorEntry::ERL_NIF_MAP_ITERATOR_HEAD;
        // SAFETY: the term is of its environment; the iterator is made where the answer is 1.
        unsafe {
            let made = enif_map_iterator_create(env.as_c_arg(), map.as_c_arg(), at.as_mut_ptr(), first);
            (made == 1).then(|| Self { env, at: at.assume_init() })
        }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Term<'a>, Term<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (mut key, mut value) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        let env = self.env.as_c_arg();
        // SAFETY: the iterator is of a map of this environment; both places are written where the answer is 1, and
        // an iterator at the end stays there.
        unsafe {
            if enif_map_iterator_get_pair(env, &raw mut self.at, key.as_mut_ptr(), value.as_mut_ptr()) != 1 {
                return None;
            }
            enif_map_iterator_next(env, &raw mut self.at);
            Some((Term::new(self.env, key.assume_init()), Term::new(self.env, value.assume_init())))
        }
    }
}

impl Drop for Pairs<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made by `new` and is not used again.
        unsafe { enif_map_iterator_destroy(self.env.as_c_arg(), &raw mut self.at) };
    }
}

/// The elements of a tuple.
pub(crate) fn elements<'a>(term: Term<'a>) -> Option<impl ExactSizeIterator<Item = Term<'a>>> {
    let env = term.get_env();
    let (mut arity, mut first) = (0, std::ptr::null());
    // SAFETY: the term is of its environment; the call writes both places, or answers that it is no tuple.
    let is_tuple = unsafe { enif_get_tuple(env.as_c_arg(), term.as_c_arg(), &raw mut arity, &raw mut first) };
    if is_tuple != 1 || first.is_null() {
        return None;
    }
    // SAFETY: the VM gave the place and the number of the elements; 'a ends with the NIF's environment.
    let words: &'a [ErlNifTerm] = unsafe { std::slice::from_raw_parts(first, usize::try_from(arity).ok()?) };
    // SAFETY: each is a term of the tuple's environment.
    Some(words.iter().map(move |word| unsafe { Term::new(env, *word) }))
}
