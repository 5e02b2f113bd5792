//! Event types by atom: an atom's word and the store's number of the type, side by side in one atomic word.
//!
//! A slot is either empty, right or about another atom, since both halves are written and read together; so a
//! race costs a look-up and never a wrong answer. Atoms whose word needs more than 32 bits go the slow way.

use std::sync::atomic::{AtomicU64, Ordering};

use elixirscope_foundation::error::Error;
use elixirscope_foundation::events::{EventStore, TypeId};
use rustler::Term;

use crate::terms::{atom_text, mismatch, word};

const SLOTS: usize = 1_024;

/// The cache of one instance's store.
pub(crate) struct TypeCache {
    slots: Vec<AtomicU64>,
    /// The half of a [`TypeId`] that is the same for all types of the store, once one was resolved.
    store: AtomicU64,
}

impl Default for TypeCache {
    fn default() -> Self {
        let slots = std::iter::repeat_with(AtomicU64::default).take(SLOTS).collect();
        Self { slots, store: AtomicU64::new(0) }
    }
}

impl TypeCache {
    /// The type of this atom.
    #[inline]
    pub(crate) fn resolve(&self, events: &EventStore, term: Term<'_>) -> Result<TypeId, Error> {
        let word = word(term) as u64;
        let slot = self.slots.get((word >> 6) as usize % SLOTS);
        if let Some(slot) = slot
            && term.is_atom()
        {
            let entry = slot.load(Ordering::Relaxed);
            let store = self.store.load(Ordering::Relaxed);
            if entry >> 32 == word && store != 0 {
                return Ok(TypeId::from_raw((store & !0xFFFF_FFFF) | (entry & 0xFFFF_FFFF)));
            }
        }
        self.resolve_text(events, term, slot)
    }

    #[cold]
    fn resolve_text(
        &self,
        events: &EventStore,
        term: Term<'_>,
        slot: Option<&AtomicU64>,
    ) -> Result<TypeId, Error> {
        let text = atom_text(term).ok_or_else(|| mismatch("event_type", term, "an atom"))?;
        let id = events.event_type(&text)?;
        let (raw, word) = (id.to_raw(), word(term) as u64);
        if let Some(slot) = slot
            && word >> 32 == 0
        {
            // The low bit only says that the half is known.
            self.store.store((raw & !0xFFFF_FFFF) | 1, Ordering::Relaxed);
            slot.store(word << 32 | (raw & 0xFFFF_FFFF), Ordering::Relaxed);
        }
        Ok(id)
    }
}
