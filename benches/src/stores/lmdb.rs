//! LMDB, through heed: four B+ trees in one mapped file. It does not check that an id is new.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, PutFlags, RoTxn, WithTls};

use super::kv::{Engine, Put, Reader, Space};
use super::{Durability, Kind, boxed};
use crate::harness::Role;

/// LMDB as a kind of store.
pub const KIND: Kind = Kind {
    name: "LMDB",
    role: Role::Peer,
    in_memory: None,
    on_disk: Some(|path, durability| boxed(Lmdb::open(path, durability))),
};

/// Address space, of which only what is used becomes disk.
const MAP: usize = 64 << 30;

type Tree = Database<Bytes, Bytes>;

struct Lmdb {
    /// Taken when it is dropped.
    env: Option<Env<WithTls>>,
    trees: [Tree; 4],
}

impl Lmdb {
    fn open(path: &Path, durability: Durability) -> heed::Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP).max_dbs(4).max_readers(64);
        if durability == Durability::CrashSafe {
            // SAFETY: the flag gives up consistency after a loss of power only; the files are the benchmark's own.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: nobody else opens, writes or truncates the benchmark's files.
        let env = unsafe { options.open(path)? };
        let mut transaction = env.write_txn()?;
        let mut trees = Vec::with_capacity(4);
        for name in Space::NAMES {
            trees.push(env.create_database(&mut transaction, Some(name))?);
        }
        transaction.commit()?;
        let trees = trees.try_into().unwrap_or_else(|_| unreachable!("there are four names"));
        Ok(Self { env: Some(env), trees })
    }

    fn env(&self) -> &Env<WithTls> {
        self.env.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Lmdb {
    /// Waits until the file is closed, so that it can be opened again.
    fn drop(&mut self) {
        if let Some(env) = self.env.take() {
            env.prepare_for_closing().wait();
        }
    }
}

impl Engine for Lmdb {
    fn write(&self, fill: &mut dyn FnMut(&mut Put<'_>)) {
        let mut transaction = self.env().write_txn().expect("a write transaction");
        fill(&mut |space, key, value| {
            let tree = &self.trees[space as usize];
            // Ids mostly come in order, and LMDB fills its pages better if it is told so.
            let appended = match space {
                Space::Events => match tree.put_with_flags(&mut transaction, PutFlags::APPEND, key, value) {
                    Err(heed::Error::Mdb(MdbError::KeyExist)) => false,
                    other => other.map(|()| true).expect("an append"),
                },
                _ => false,
            };
            if !appended {
                tree.put(&mut transaction, key, value).expect("a put");
            }
        });
        transaction.commit().expect("a commit");
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        let transaction = self.env().read_txn().expect("a read transaction");
        work(&View { transaction: &transaction, trees: &self.trees });
    }
}

struct View<'a> {
    transaction: &'a RoTxn<'a, WithTls>,
    trees: &'a [Tree; 4],
}

impl Reader for View<'_> {
    fn get(&self, space: Space, key: &[u8], show: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.trees[space as usize].get(self.transaction, key).expect("a get") {
            show(value);
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
        let tree = &self.trees[space as usize];
        let range = (Bound::Included(first), Bound::Included(last));
        if backwards {
            for pair in tree.rev_range(self.transaction, &range).expect("a range") {
                if !show(pair.expect("a pair").0) {
                    break;
                }
            }
        } else {
            for pair in tree.range(self.transaction, &range).expect("a range") {
                if !show(pair.expect("a pair").0) {
                    break;
                }
            }
        }
    }
}
