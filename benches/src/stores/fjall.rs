//! fjall: four LSM trees behind one journal. It does not check that an id is new.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::kv::{Engine, Put, Reader, Space};
use super::{Durability, Kind, boxed};
use crate::harness::Role;

/// fjall as a kind of store.
pub const KIND: Kind = Kind {
    name: "fjall",
    role: Role::Peer,
    in_memory: None,
    on_disk: Some(|path, durability| boxed(Fjall::open(path, durability))),
};

/// As much as the others with a cache of their own have.
const CACHE: u64 = 256 << 20;

struct Fjall {
    database: Database,
    spaces: [Keyspace; 4],
    persist: PersistMode,
}

impl Fjall {
    fn open(path: &Path, durability: Durability) -> fjall::Result<Self> {
        let database = Database::builder(path).cache_size(CACHE).open()?;
        let mut spaces = Vec::with_capacity(4);
        for name in Space::NAMES {
            spaces.push(database.keyspace(name, KeyspaceCreateOptions::default)?);
        }
        let spaces = spaces.try_into().unwrap_or_else(|_| unreachable!("there are four names"));
        let persist = match durability {
            Durability::Group => PersistMode::SyncAll,
            Durability::CrashSafe => PersistMode::Buffer,
        };
        Ok(Self { database, spaces, persist })
    }
}

impl Engine for Fjall {
    fn write(&self, fill: &mut dyn FnMut(&mut Put<'_>)) {
        let mut batch = self.database.batch().durability(Some(self.persist));
        fill(&mut |space, key, value| batch.insert(&self.spaces[space as usize], key, value));
        batch.commit().expect("a commit");
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        work(&View { snapshot: self.database.snapshot(), spaces: &self.spaces });
    }
}

struct View<'a> {
    snapshot: Snapshot,
    spaces: &'a [Keyspace; 4],
}

impl Reader for View<'_> {
    fn get(&self, space: Space, key: &[u8], show: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.snapshot.get(&self.spaces[space as usize], key).expect("a get") {
            show(&value);
        }
    }

    fn scan(
        &self,
        space: Space,
        first: &[u8],
        last: &[u8],
        backwards: bool,
        show: &mut dyn FnMut(&[u8]) -> bool,
    ) {
        let mut range = self.snapshot.range(&self.spaces[space as usize], first..=last);
        let mut next = || if backwards { range.next_back() } else { range.next() };
        while let Some(guard) = next() {
            if !show(&guard.key().expect("a key")) {
                break;
            }
        }
    }
}
