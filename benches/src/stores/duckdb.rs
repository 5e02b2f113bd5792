//! DuckDB: a table of columns without indexes beyond the ranges that it keeps of each row group, which is how it is
//! meant to be used; so it does less for each append and reads more for each query. Through its C API; it uses both
//! processors for a query. Each commit of a file is synced: it has no form of `crash_safe`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard};

use super::{Durability, Kind, Store, boxed};
use crate::harness::Role;
use crate::library::{Library, functions};
use crate::workload::{Answer, Found, Made, NODE, type_name};

/// DuckDB as a kind of store.
pub const KIND: Kind = Kind {
    name: "DuckDB",
    role: Role::Peer,
    in_memory: Some(|| boxed(DuckDb::open(None))),
    on_disk: Some(|path, durability| match durability {
        Durability::Group => boxed(DuckDb::open(Some(path))),
        Durability::CrashSafe => Err("it syncs each commit".to_owned()),
    }),
};

/// Where `scripts/peers.sh` puts the library.
fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/peers/libduckdb.so")
}

const SCHEMA: &CStr = c"CREATE TABLE IF NOT EXISTS events (
    id BIGINT NOT NULL, timestamp BIGINT NOT NULL, wall_time BIGINT NOT NULL, type BIGINT NOT NULL,
    node BIGINT NOT NULL, pid VARCHAR NOT NULL, correlation_id VARCHAR, parent_id BIGINT,
    config_version BIGINT NOT NULL, data VARCHAR NOT NULL)";

/// The columns that an answer shows.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT timestamp, type, pid, correlation_id, data FROM events WHERE ", $rest, "\0")
    };
}

const STATEMENTS: [&str; 6] = [
    select!("id = $1"),
    select!("correlation_id = $1 ORDER BY timestamp, id"),
    select!("type = $1 ORDER BY timestamp DESC, id DESC LIMIT $2"),
    "SELECT count(*) FROM events WHERE timestamp BETWEEN $1 AND $2\0",
    select!("timestamp BETWEEN $1 AND $2 ORDER BY timestamp, id"),
    select!("type = $1 AND timestamp BETWEEN $2 AND $3 ORDER BY timestamp, id LIMIT $4"),
];

type Handle = *mut c_void;
type State = c_int;

/// `duckdb_result`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Answered {
    counts: [u64; 3],
    columns: Handle,
    error: *const c_char,
    internal: Handle,
}

/// `duckdb_string_t`: short text is inside, longer text behind a pointer.
#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    length: u32,
    bytes: [u8; 12],
}

impl Text {
    fn bytes(&self) -> &[u8] {
        let length = self.length as usize;
        if length <= self.bytes.len() {
            return &self.bytes[..length];
        }
        let mut pointer = [0; 8];
        pointer.copy_from_slice(&self.bytes[4..]);
        let pointer = usize::from_ne_bytes(pointer) as *const u8;
        // SAFETY: text longer than 12 bytes is behind the pointer after a prefix of four, as long as its chunk lives.
        unsafe { std::slice::from_raw_parts(pointer, length) }
    }
}

// The types are those of duckdb.h.
functions! {
    open: c"duckdb_open" fn(*const c_char, *mut Handle) -> State;
    connect: c"duckdb_connect" fn(Handle, *mut Handle) -> State;
    query: c"duckdb_query" fn(Handle, *const c_char, *mut Answered) -> State;
    prepare: c"duckdb_prepare" fn(Handle, *const c_char, *mut Handle) -> State;
    bind_number: c"duckdb_bind_int64" fn(Handle, u64, i64) -> State;
    bind_text: c"duckdb_bind_varchar_length" fn(Handle, u64, *const c_char, u64) -> State;
    execute: c"duckdb_execute_prepared" fn(Handle, *mut Answered) -> State;
    fetch: c"duckdb_fetch_chunk" fn(Answered) -> Handle;
    chunk_size: c"duckdb_data_chunk_get_size" fn(Handle) -> u64;
    chunk_column: c"duckdb_data_chunk_get_vector" fn(Handle, u64) -> Handle;
    column_data: c"duckdb_vector_get_data" fn(Handle) -> Handle;
    chunk_destroy: c"duckdb_destroy_data_chunk" fn(*mut Handle);
    answer_destroy: c"duckdb_destroy_result" fn(*mut Answered);
    answer_error: c"duckdb_result_error" fn(*mut Answered) -> *const c_char;
    appender: c"duckdb_appender_create" fn(Handle, *const c_char, *const c_char, *mut Handle) -> State;
    append_number: c"duckdb_append_int64" fn(Handle, i64) -> State;
    append_text: c"duckdb_append_varchar_length" fn(Handle, *const c_char, u64) -> State;
    append_null: c"duckdb_append_null" fn(Handle) -> State;
    end_row: c"duckdb_appender_end_row" fn(Handle) -> State;
    flush: c"duckdb_appender_flush" fn(Handle) -> State;
    appender_destroy: c"duckdb_appender_destroy" fn(*mut Handle) -> State;
    statement_destroy: c"duckdb_destroy_prepare" fn(*mut Handle);
    disconnect: c"duckdb_disconnect" fn(*mut Handle);
    close: c"duckdb_close" fn(*mut Handle);
}

struct Inner {
    functions: Functions,
    database: Handle,
    connection: Handle,
    appender: Handle,
    statements: [Handle; STATEMENTS.len()],
}

// SAFETY: a connection and what belongs to it may move between threads; the mutex keeps them to one at a time.
unsafe impl Send for Inner {}

struct DuckDb(Mutex<Inner>);

/// A value that a statement is run with.
enum Value<'a> {
    Number(i64),
    Text(&'a str),
}

fn succeeded(state: State, what: &str) {
    assert_eq!(state, 0, "DuckDB: {what}");
}

impl DuckDb {
    fn open(directory: Option<&Path>) -> Result<Self, String> {
        let f = Functions::of(Library::open(&library())?);
        let path = directory.map(|path| {
            CString::new(path.join("events.duckdb").to_string_lossy().as_bytes()).expect("no NUL")
        });
        let (mut database, mut connection, mut appender) = (null_mut(), null_mut(), null_mut());
        let mut statements = [null_mut(); STATEMENTS.len()];
        // SAFETY: the calls are those of duckdb.h, with C strings and places for what they answer.
        unsafe {
            let path = path.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
            if (f.open)(path, &raw mut database) != 0 {
                return Err("it does not open".to_owned());
            }
            succeeded((f.connect)(database, &raw mut connection), "connect");
            let mut answered = Answered::empty();
            succeeded((f.query)(connection, SCHEMA.as_ptr(), &raw mut answered), "schema");
            (f.answer_destroy)(&raw mut answered);
            let table = c"events".as_ptr();
            succeeded((f.appender)(connection, std::ptr::null(), table, &raw mut appender), "appender");
            for (text, statement) in STATEMENTS.iter().zip(&mut statements) {
                succeeded((f.prepare)(connection, text.as_ptr().cast(), statement), text);
            }
        }
        Ok(Self(Mutex::new(Inner { functions: f, database, connection, appender, statements })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder panicked")
    }

    fn find(&self, statement: usize, values: &[Value<'_>], answer: &mut Answer) {
        self.inner().run(statement, values, |f, chunk, rows| {
            // SAFETY: the columns have the types that SELECT names and `rows` values each; no column can be null.
            unsafe {
                let numbers = |column| (f.column_data)((f.chunk_column)(chunk, column)).cast::<i64>();
                let texts = |column| (f.column_data)((f.chunk_column)(chunk, column)).cast::<Text>();
                let (times, types) = (numbers(0), numbers(1));
                let (pids, chains, data) = (texts(2), texts(3), texts(4));
                for row in 0..rows {
                    answer.add(Found {
                        timestamp: *times.add(row),
                        event_type: type_name(*types.add(row) as u32).as_bytes(),
                        node: NODE.as_bytes(),
                        pid: (*pids.add(row)).bytes(),
                        correlation_id: (*chains.add(row)).bytes(),
                        data: (*data.add(row)).bytes(),
                    });
                }
            }
        });
    }
}

impl Answered {
    fn empty() -> Self {
        Self { counts: [0; 3], columns: null_mut(), error: std::ptr::null(), internal: null_mut() }
    }
}

impl Inner {
    fn add(&self, made: &Made) {
        let (f, to) = (&self.functions, self.appender);
        // SAFETY: the appender is open; it copies text.
        unsafe {
            let number = |value| succeeded((f.append_number)(to, value), "append");
            let text = |value: &str| {
                succeeded((f.append_text)(to, value.as_ptr().cast(), value.len() as u64), "append");
            };
            number(made.id_or_turn() as i64);
            number(made.timestamp);
            number(made.timestamp);
            number(i64::from(made.type_number));
            number(1);
            text(&made.pid);
            text(&made.correlation_id);
            succeeded((f.append_null)(to), "append");
            number(1);
            text(&made.data);
            succeeded((f.end_row)(to), "end of row");
        }
    }

    /// What was added becomes one transaction.
    fn flush(&self) {
        // SAFETY: the appender is open.
        succeeded(unsafe { (self.functions.flush)(self.appender) }, "flush");
    }

    fn run(
        &mut self,
        statement: usize,
        values: &[Value<'_>],
        mut show: impl FnMut(&Functions, Handle, usize),
    ) {
        let (f, statement) = (&self.functions, self.statements[statement]);
        let mut answered = Answered::empty();
        // SAFETY: the statement is open and has as many parameters as there are values; text is copied. Chunks are
        // destroyed after they were shown, the answer at the end.
        unsafe {
            for (index, value) in (1..).zip(values) {
                let state = match value {
                    Value::Number(number) => (f.bind_number)(statement, index, *number),
                    Value::Text(text) => {
                        (f.bind_text)(statement, index, text.as_ptr().cast(), text.len() as u64)
                    }
                };
                succeeded(state, "bind");
            }
            if (f.execute)(statement, &raw mut answered) != 0 {
                let error = (f.answer_error)(&raw mut answered);
                panic!("DuckDB: {}", CStr::from_ptr(error).to_string_lossy());
            }
            loop {
                let mut chunk = (f.fetch)(answered);
                if chunk.is_null() {
                    break;
                }
                show(f, chunk, (f.chunk_size)(chunk) as usize);
                (f.chunk_destroy)(&raw mut chunk);
            }
            (f.answer_destroy)(&raw mut answered);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let f = &self.functions;
        // SAFETY: everything is open and destroyed once, what depends on another first.
        unsafe {
            for statement in &mut self.statements {
                (f.statement_destroy)(statement);
            }
            (f.appender_destroy)(&raw mut self.appender);
            (f.disconnect)(&raw mut self.connection);
            (f.close)(&raw mut self.database);
        }
    }
}

impl Store for DuckDb {
    fn append(&self, event: &Made) {
        let inner = self.inner();
        inner.add(event);
        inner.flush();
    }

    fn append_batch(&self, events: &[Made]) {
        let inner = self.inner();
        for event in events {
            inner.add(event);
        }
        inner.flush();
    }

    fn by_id(&self, id: u64, answer: &mut Answer) {
        self.find(0, &[Value::Number(id as i64)], answer);
    }

    fn by_correlation(&self, id: &str, answer: &mut Answer) {
        self.find(1, &[Value::Text(id)], answer);
    }

    fn newest(&self, type_number: u32, limit: usize, answer: &mut Answer) {
        let values = [Value::Number(i64::from(type_number)), Value::Number(limit as i64)];
        self.find(2, &values, answer);
    }

    fn count(&self, first: i64, last: i64) -> u64 {
        let mut count = 0;
        self.inner().run(3, &[Value::Number(first), Value::Number(last)], |f, chunk, _| {
            // SAFETY: the answer is one BIGINT in one row.
            count = unsafe { *(f.column_data)((f.chunk_column)(chunk, 0)).cast::<i64>() } as u64;
        });
        count
    }

    fn between(&self, first: i64, last: i64, answer: &mut Answer) {
        self.find(4, &[Value::Number(first), Value::Number(last)], answer);
    }

    fn type_between(&self, type_number: u32, first: i64, last: i64, limit: usize, answer: &mut Answer) {
        let values = [
            Value::Number(i64::from(type_number)),
            Value::Number(first),
            Value::Number(last),
            Value::Number(limit as i64),
        ];
        self.find(5, &values, answer);
    }
}
