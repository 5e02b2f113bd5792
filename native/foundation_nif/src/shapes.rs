//! The structs that are read for every event: their fields where the VM keeps them.
//!
//! A struct's map has its keys in an order that is the VM's own and the same for all maps of these keys. So the place
//! of each field is looked up once, when the library is loaded. A map that lies as expected and has these very keys is
//! then read by place, and any other one by the names of its keys.

#![allow(clippy::inline_always, reason = "measured: else what was read is copied from call to call")]

use std::sync::OnceLock;

use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Term};

use crate::atoms;
use crate::terms::field;
use crate::words::{Flat, Words};

/// An event's keys.
pub(crate) static EVENT: Shape<10> = Shape::new(|| {
    [
        atoms::__struct__(),
        atoms::event_type(),
        atoms::event_id(),
        atoms::timestamp(),
        atoms::wall_time(),
        atoms::node(),
        atoms::pid(),
        atoms::correlation_id(),
        atoms::parent_id(),
        atoms::data(),
    ]
});

/// A `DateTime`'s keys.
pub(crate) static DATE_TIME: Shape<13> = Shape::new(|| {
    [
        atoms::__struct__(),
        atoms::calendar(),
        atoms::year(),
        atoms::month(),
        atoms::day(),
        atoms::hour(),
        atoms::minute(),
        atoms::second(),
        atoms::microsecond(),
        atoms::utc_offset(),
        atoms::std_offset(),
        atoms::time_zone(),
        atoms::zone_abbr(),
    ]
});

/// Finds the places; called once, while the library is being loaded, when words are known.
pub(crate) fn prepare(env: Env<'_>) {
    EVENT.prepare(env);
    DATE_TIME.prepare(env);
}

/// The keys of a struct.
pub(crate) struct Shape<const N: usize> {
    /// In the order by which fields are asked for.
    keys: fn() -> [Atom; N],
    order: OnceLock<Order<N>>,
}

struct Order<const N: usize> {
    /// The keys as the VM orders them.
    keys: [ErlNifTerm; N],
    /// Which of them each field has.
    places: [usize; N],
}

impl<const N: usize> Shape<N> {
    const fn new(keys: fn() -> [Atom; N]) -> Self {
        Self { keys, order: OnceLock::new() }
    }

    /// Where maps do not lie as expected, the order stays unknown.
    fn prepare(&self, env: Env<'_>) {
        let pairs = (self.keys)().map(|key| (key.encode(env), key.encode(env)));
        let keys = Term::map_from_pairs(env, &pairs)
            .ok()
            .and_then(|map| <[ErlNifTerm; N]>::try_from(Words::new().flat(map)?.keys()).ok());
        let Some(keys) = keys else { return };
        let mut places = [0; N];
        for ((key, _value), place) in pairs.iter().zip(&mut places) {
            let Some(found) = keys.iter().position(|known| *known == key.as_c_arg()) else { return };
            *place = found;
        }
        // It is called once.
        let _ = self.order.set(Order { keys, places });
    }

    /// A map that is to be read as such a struct.
    #[inline(always)]
    pub(crate) fn of<'a>(&'static self, map: Term<'a>) -> Struct<'a, N> {
        let placed = Words::new().flat(map).and_then(|flat| {
            let Order { keys, places } = self.order.get()?;
            (flat.keys() == keys).then_some((flat, places))
        });
        Struct { map, keys: self.keys, placed }
    }
}

/// A map that has, or may have, a shape's keys.
pub(crate) struct Struct<'a, const N: usize> {
    map: Term<'a>,
    keys: fn() -> [Atom; N],
    placed: Option<(Flat<'a>, &'static [usize; N])>,
}

impl<'a, const N: usize> Struct<'a, N> {
    /// The field of the shape's key of this number; `None` where it is not there.
    #[inline(always)]
    pub(crate) fn get(&self, number: usize) -> Option<Term<'a>> {
        match &self.placed {
            Some((flat, places)) => flat.value(*places.get(number)?),
            None => by_name(self.map, (self.keys)().get(number).copied()?),
        }
    }
}

#[cold]
fn by_name(map: Term<'_>, key: Atom) -> Option<Term<'_>> {
    field(map, key)
}
