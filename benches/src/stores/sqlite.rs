//! SQLite: a table with three indexes, all statements prepared once. One connection under a mutex: in memory a second
//! one would see another database, and on disk a second writer would only wait.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, Row, params};

use super::{Durability, Kind, Store, boxed};
use crate::harness::Role;
use crate::workload::{Answer, Found, Made, NODE, type_name};

/// SQLite as a kind of store.
pub const KIND: Kind = Kind {
    name: "SQLite",
    role: Role::Peer,
    in_memory: Some(|| boxed(Sqlite::in_memory())),
    on_disk: Some(|path, durability| boxed(Sqlite::open(path, durability))),
};

/// Type and node are numbers, whose names somebody else keeps. The indexes end with the id, which is the rowid.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, wall_time INTEGER NOT NULL, type INTEGER NOT NULL,
        node INTEGER NOT NULL, pid TEXT NOT NULL, correlation_id TEXT, parent_id INTEGER,
        config_version INTEGER NOT NULL, data BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS by_type ON events (type, timestamp);
    CREATE INDEX IF NOT EXISTS by_correlation ON events (correlation_id, timestamp);
    CREATE INDEX IF NOT EXISTS by_time ON events (timestamp);
";

const INSERT: &str = "INSERT INTO events VALUES (?1, ?2, ?2, ?3, 1, ?4, ?5, NULL, 1, ?6)";

struct Sqlite(Mutex<Connection>);

impl Sqlite {
    fn in_memory() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn open(path: &Path, durability: Durability) -> rusqlite::Result<Self> {
        let connection = Connection::open(path.join("events.sqlite"))?;
        let synchronous = match durability {
            Durability::Group => "FULL",
            Durability::CrashSafe => "NORMAL",
        };
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -262144; \
             PRAGMA mmap_size = 17179869184;"
        ))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().expect("no holder panicked")
    }

    fn find(&self, condition: &str, parameters: impl rusqlite::Params, answer: &mut Answer) {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(condition).expect("a statement");
        let mut rows = statement.query(parameters).expect("a query");
        while let Some(row) = rows.next().expect("a row") {
            show(row, answer).expect("the columns of an event");
        }
    }
}

fn insert(connection: &Connection, made: &Made) {
    let mut statement = connection.prepare_cached(INSERT).expect("a statement");
    let id = made.id_or_turn() as i64;
    statement
        .execute(params![
            id,
            made.timestamp,
            made.type_number,
            made.pid,
            made.correlation_id,
            made.data.as_bytes()
        ])
        .expect("an insert");
}

fn show(row: &Row<'_>, answer: &mut Answer) -> rusqlite::Result<()> {
    let node: u32 = row.get(2)?;
    answer.add(Found {
        timestamp: row.get(0)?,
        event_type: type_name(row.get(1)?).as_bytes(),
        node: if node == 1 { NODE.as_bytes() } else { b"" },
        pid: row.get_ref(3)?.as_bytes()?,
        correlation_id: row.get_ref(4)?.as_bytes()?,
        data: row.get_ref(5)?.as_bytes()?,
    });
    Ok(())
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT timestamp, type, node, pid, correlation_id, data FROM events WHERE ", $rest)
    };
}

impl Store for Sqlite {
    fn append(&self, event: &Made) {
        insert(&self.connection(), event);
    }

    fn append_batch(&self, events: &[Made]) {
        let mut connection = self.connection();
        let transaction = connection.transaction().expect("a transaction");
        for event in events {
            insert(&transaction, event);
        }
        transaction.commit().expect("a commit");
    }

    fn by_id(&self, id: u64, answer: &mut Answer) {
        self.find(select!("id = ?1"), [id as i64], answer);
    }

    fn by_correlation(&self, id: &str, answer: &mut Answer) {
        self.find(select!("correlation_id = ?1 ORDER BY timestamp, id"), [id], answer);
    }

    fn newest(&self, type_number: u32, limit: usize, answer: &mut Answer) {
        let parameters = params![type_number, limit as i64];
        self.find(select!("type = ?1 ORDER BY timestamp DESC, id DESC LIMIT ?2"), parameters, answer);
    }

    fn count(&self, first: i64, last: i64) -> u64 {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT count(*) FROM events WHERE timestamp BETWEEN ?1 AND ?2")
            .expect("a statement");
        statement.query_row([first, last], |row| row.get::<_, i64>(0)).expect("a count") as u64
    }

    fn between(&self, first: i64, last: i64, answer: &mut Answer) {
        self.find(select!("timestamp BETWEEN ?1 AND ?2 ORDER BY timestamp, id"), [first, last], answer);
    }

    fn type_between(&self, type_number: u32, first: i64, last: i64, limit: usize, answer: &mut Answer) {
        let parameters = params![type_number, first, last, limit as i64];
        self.find(
            select!("type = ?1 AND timestamp BETWEEN ?2 AND ?3 ORDER BY timestamp, id LIMIT ?4"),
            parameters,
            answer,
        );
    }
}
