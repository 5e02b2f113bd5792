//! RocksDB: four column families behind one write-ahead log, through the C API of the distribution's library. It does
//! not check that an id is new, and reads without a snapshot.

use std::ffi::{CStr, CString, c_char, c_int, c_uchar};
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use super::kv::{Engine, Put, Reader, Space};
use super::{Durability, Kind, boxed};
use crate::harness::Role;
use crate::library::{Library, functions};

/// RocksDB as a kind of store.
pub const KIND: Kind = Kind {
    name: "RocksDB",
    role: Role::Peer,
    in_memory: None,
    on_disk: Some(|path, durability| boxed(RocksDb::open(path, durability))),
};

/// The distribution's library; `scripts/peers.sh` installs it.
const LIBRARY: &str = "librocksdb.so";

/// As much as the others with a cache of their own have.
const CACHE: usize = 256 << 20;
const LZ4: c_int = 4;

/// Any of the library's opaque types.
#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}
type Pointer = *mut Opaque;
type Bytes = *const c_char;

// The types are those of rocksdb/c.h.
functions! {
    options_create: c"rocksdb_options_create" fn() -> Pointer;
    create_if_missing: c"rocksdb_options_set_create_if_missing" fn(Pointer, c_uchar);
    create_families: c"rocksdb_options_set_create_missing_column_families" fn(Pointer, c_uchar);
    set_compression: c"rocksdb_options_set_compression" fn(Pointer, c_int);
    set_max_background_jobs: c"rocksdb_options_set_max_background_jobs" fn(Pointer, c_int);
    set_table: c"rocksdb_options_set_block_based_table_factory" fn(Pointer, Pointer);
    table_create: c"rocksdb_block_based_options_create" fn() -> Pointer;
    table_set_cache: c"rocksdb_block_based_options_set_block_cache" fn(Pointer, Pointer);
    table_set_filter: c"rocksdb_block_based_options_set_filter_policy" fn(Pointer, Pointer);
    cache_create: c"rocksdb_cache_create_lru" fn(usize) -> Pointer;
    bloom_create: c"rocksdb_filterpolicy_create_bloom_full" fn(f64) -> Pointer;
    read_options: c"rocksdb_readoptions_create" fn() -> Pointer;
    write_options: c"rocksdb_writeoptions_create" fn() -> Pointer;
    set_sync: c"rocksdb_writeoptions_set_sync" fn(Pointer, c_uchar);
    open: c"rocksdb_open_column_families" fn(Pointer, Bytes, c_int, *const Bytes, *const Pointer, *mut Pointer,
        *mut *mut c_char) -> Pointer;
    close: c"rocksdb_close" fn(Pointer);
    family_destroy: c"rocksdb_column_family_handle_destroy" fn(Pointer);
    batch_create: c"rocksdb_writebatch_create" fn() -> Pointer;
    batch_put: c"rocksdb_writebatch_put_cf" fn(Pointer, Pointer, Bytes, usize, Bytes, usize);
    batch_destroy: c"rocksdb_writebatch_destroy" fn(Pointer);
    write: c"rocksdb_write" fn(Pointer, Pointer, Pointer, *mut *mut c_char);
    get: c"rocksdb_get_pinned_cf" fn(Pointer, Pointer, Pointer, Bytes, usize, *mut *mut c_char) -> Pointer;
    pinned_value: c"rocksdb_pinnableslice_value" fn(Pointer, *mut usize) -> Bytes;
    pinned_destroy: c"rocksdb_pinnableslice_destroy" fn(Pointer);
    iterator: c"rocksdb_create_iterator_cf" fn(Pointer, Pointer, Pointer) -> Pointer;
    iterator_destroy: c"rocksdb_iter_destroy" fn(Pointer);
    seek: c"rocksdb_iter_seek" fn(Pointer, Bytes, usize);
    seek_back: c"rocksdb_iter_seek_for_prev" fn(Pointer, Bytes, usize);
    valid: c"rocksdb_iter_valid" fn(Pointer) -> c_uchar;
    next: c"rocksdb_iter_next" fn(Pointer);
    previous: c"rocksdb_iter_prev" fn(Pointer);
    key: c"rocksdb_iter_key" fn(Pointer, *mut usize) -> Bytes;
}

struct RocksDb {
    functions: Functions,
    database: Pointer,
    families: [Pointer; 4],
    reading: Pointer,
    writing: Pointer,
}

// SAFETY: a RocksDB database is used from any number of threads; the options are only read after `open`.
unsafe impl Sync for RocksDb {}

impl RocksDb {
    fn open(path: &Path, durability: Durability) -> Result<Self, String> {
        let f = Functions::of(Library::open(Path::new(LIBRARY))?);
        let path = CString::new(path.to_string_lossy().as_bytes()).expect("a path has no NUL");
        // The default family must be opened as well.
        let owned: Vec<CString> = std::iter::once("default")
            .chain(Space::NAMES)
            .map(|name| CString::new(name).expect("a name has no NUL"))
            .collect();
        let names: Vec<Bytes> = owned.iter().map(|name| name.as_ptr()).collect();
        let mut families = [null_mut(); 5];
        let mut error = null_mut();
        // SAFETY: the calls are those of rocksdb/c.h; every pointer is of the kind that the call wants, the five names
        // and options live until `open` has returned, and `families` has room for five.
        unsafe {
            let options = (f.options_create)();
            (f.create_if_missing)(options, 1);
            (f.create_families)(options, 1);
            (f.set_compression)(options, LZ4);
            (f.set_max_background_jobs)(options, 2);
            let table = (f.table_create)();
            (f.table_set_cache)(table, (f.cache_create)(CACHE));
            (f.table_set_filter)(table, (f.bloom_create)(10.0));
            (f.set_table)(options, table);
            let all = [options; 5];
            let database = (f.open)(
                options,
                path.as_ptr(),
                5,
                names.as_ptr(),
                all.as_ptr(),
                families.as_mut_ptr(),
                &raw mut error,
            );
            if !error.is_null() {
                return Err(message(error));
            }
            (f.family_destroy)(families[0]);
            let writing = (f.write_options)();
            (f.set_sync)(writing, c_uchar::from(durability == Durability::Group));
            let reading = (f.read_options)();
            let families = [families[1], families[2], families[3], families[4]];
            Ok(Self { functions: f, database, families, reading, writing })
        }
    }
}

/// The message of a call that failed; it is not freed, since the benchmark ends with it.
fn message(error: *mut c_char) -> String {
    // SAFETY: the library answers a C string.
    unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: nobody uses the database any more; the families go before it. Options are small and stay.
        unsafe {
            for family in self.families {
                (self.functions.family_destroy)(family);
            }
            (self.functions.close)(self.database);
        }
    }
}

impl Engine for RocksDb {
    fn write(&self, fill: &mut dyn FnMut(&mut Put<'_>)) {
        let f = &self.functions;
        // SAFETY: an own batch, destroyed below.
        let batch = unsafe { (f.batch_create)() };
        fill(&mut |space, key, value| {
            let family = self.families[space as usize];
            // SAFETY: the batch copies key and value.
            unsafe {
                (f.batch_put)(
                    batch,
                    family,
                    key.as_ptr().cast(),
                    key.len(),
                    value.as_ptr().cast(),
                    value.len(),
                );
            }
        });
        let mut error = null_mut();
        // SAFETY: database, options and batch are open.
        unsafe {
            (f.write)(self.database, self.writing, batch, &raw mut error);
            (f.batch_destroy)(batch);
        }
        assert!(error.is_null(), "{}", message(error));
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reader)) {
        work(self);
    }
}

impl Reader for RocksDb {
    fn get(&self, space: Space, key: &[u8], show: &mut dyn FnMut(&[u8])) {
        let f = &self.functions;
        let (family, mut error) = (self.families[space as usize], null_mut());
        // SAFETY: the database is open; the key is read during the call only.
        let pinned = unsafe {
            (f.get)(self.database, self.reading, family, key.as_ptr().cast(), key.len(), &raw mut error)
        };
        assert!(error.is_null(), "{}", message(error));
        let Some(pinned) = NonNull::new(pinned) else { return };
        let mut length = 0;
        // SAFETY: the value stays until the pin is destroyed, and `show` does not keep it.
        unsafe {
            let value = (f.pinned_value)(pinned.as_ptr(), &raw mut length);
            show(std::slice::from_raw_parts(value.cast(), length));
            (f.pinned_destroy)(pinned.as_ptr());
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
        let f = &self.functions;
        // SAFETY: an own iterator, destroyed below; its key stays until it moves, and `show` does not keep it.
        unsafe {
            let iterator = (f.iterator)(self.database, self.reading, self.families[space as usize]);
            if backwards {
                (f.seek_back)(iterator, last.as_ptr().cast(), last.len());
            } else {
                (f.seek)(iterator, first.as_ptr().cast(), first.len());
            }
            while (f.valid)(iterator) != 0 {
                let mut length = 0;
                let key = (f.key)(iterator, &raw mut length);
                let key = std::slice::from_raw_parts(key.cast(), length);
                let beyond = if backwards { key < first } else { key > last };
                if beyond || !show(key) {
                    break;
                }
                if backwards { (f.previous)(iterator) } else { (f.next)(iterator) }
            }
            (f.iterator_destroy)(iterator);
        }
    }
}
