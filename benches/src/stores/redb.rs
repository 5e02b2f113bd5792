//! redb: four B+ trees in one file. It does not check that an id is new.

use std::path::Path;

use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::kv::{Engine, Put, Reader, Space};
use super::{Durability, Kind, boxed};
use crate::harness::Role;

/// redb as a kind of store.
pub const KIND: Kind = Kind {
    name: "redb",
    role: Role::Peer,
    in_memory: None,
    on_disk: Some(|path, durability| boxed(Redb::open(path, durability))),
};

/// As much as the others with a cache of their own have.
const CACHE: usize = 256 << 20;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const TABLES: [Table; 4] = [
    Table::new(Space::NAMES[0]),
    Table::new(Space::NAMES[1]),
    Table::new(Space::NAMES[2]),
    Table::new(Space::NAMES[3]),
];

struct Redb {
    database: Database,
    durability: redb::Durability,
}

impl Redb {
    fn open(path: &Path, durability: Durability) -> Result<Self, redb::Error> {
        let database = Builder::new().set_cache_size(CACHE).create(path.join("events.redb"))?;
        // Without durability redb loses what it had when the process ends: it does less than `crash_safe` asks.
        let durability = match durability {
            Durability::Group => redb::Durability::Immediate,
            Durability::CrashSafe => redb::Durability::None,
        };
        let transaction = database.begin_write()?;
        for table in TABLES {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        Ok(Self { database, durability })
    }
}

impl Engine for Redb {
    fn write(&self, fill: &mut dyn FnMut(&mut Put<'_>)) {
        let mut transaction = self.database.begin_write().expect("a write transaction");
        transaction.set_durability(self.durability).expect("no savepoint is in the way");
        {
            let mut tables = TABLES.map(|table| transaction.open_table(table).expect("a table"));
            fill(&mut |space, key, value| {
                tables[space as usize].insert(key, value).expect("an insert");
            });
        }
        transaction.commit().expect("a commit");
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        let transaction = self.database.begin_read().expect("a read transaction");
        let events = transaction.open_table(TABLES[0]).expect("a table");
        let index = |space: Space| transaction.open_table(TABLES[space as usize]).expect("a table");
        work(&View { events, index: &index });
    }
}

struct View<'a> {
    events: ReadOnlyTable<&'static [u8], &'static [u8]>,
    /// Opens another table, since a query needs one index at most.
    index: &'a dyn Fn(Space) -> ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl Reader for View<'_> {
    fn get(&self, _space: Space, key: &[u8], show: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.events.get(key).expect("a get") {
            show(value.value());
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
        let index = (self.index)(space);
        let mut range = index.range::<&[u8]>(first..=last).expect("a range");
        let mut next = || if backwards { range.next_back() } else { range.next() };
        while let Some(pair) = next() {
            if !show(pair.expect("a pair").0.value()) {
                break;
            }
        }
    }
}
