//! Configuration: a tree of typed values, read without waiting, changed all at once or not at all.
//!
//! A path names a key or a part of the tree, with dots: "ai.planning.sampling_rate"; "" is the whole tree.
//! docs/configuration.md lists every key with its type, default and allowed values. Values travel as JSON.
//!
//! What is read often is resolved once, to an `esf_config_key`: reading through it takes a few nanoseconds,
//! waits for nobody and never fails for another reason than its handle or type.

use std::ffi::c_char;

use serde_json::Value;

use super::arg::{self, MAX_JSON, MAX_NAME};
use super::error::esf_error;
use super::foundation::esf_foundation;
use super::status::{ESF_OK, esf_status};
use super::text::{Sink, esf_str, esf_string, lend};
use crate::config::Config;
use crate::error::Code;
use crate::handles;

/// A configuration key, resolved once and read often.
pub struct esf_config_key {
    _opaque: [u8; 0],
}

/// The value at a path, a part of the tree or all of it, as JSON.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_json(
    foundation: *const esf_foundation,
    path: esf_str,
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), out(out_json) => {
        out_json.put(foundation.foundation().config().get(path)?.to_string())
    } }
}

/// The value at a path, a part of the tree or all of it, as JSON, into a buffer.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_json_into(
    foundation: *const esf_foundation,
    path: esf_str,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME),
             buffer(buffer, capacity, out_needed) => {
        buffer.put(foundation.foundation().config().get(path)?.to_string())
    } }
}

/// The boolean at a path.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_bool_at(
    foundation: *const esf_foundation,
    path: esf_str,
    out_value: *mut bool,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), out(out_value) => {
        out_value.set(foundation.foundation().config().get_bool(path)?);
        Ok(ESF_OK)
    } }
}

/// The integer at a path.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_i64_at(
    foundation: *const esf_foundation,
    path: esf_str,
    out_value: *mut i64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), out(out_value) => {
        out_value.set(foundation.foundation().config().get_i64(path)?);
        Ok(ESF_OK)
    } }
}

/// The number at a path.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_f64_at(
    foundation: *const esf_foundation,
    path: esf_str,
    out_value: *mut f64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), out(out_value) => {
        out_value.set(foundation.foundation().config().get_f64(path)?);
        Ok(ESF_OK)
    } }
}

/// The text at a path: of a string or of an enumeration.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_text_at(
    foundation: *const esf_foundation,
    path: esf_str,
    out_text: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), out(out_text) => {
        out_text.put(foundation.foundation().config().get_str(path)?)
    } }
}

/// The text at a path, into a buffer.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH, saying what was found;
/// ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_text_at_into(
    foundation: *const esf_foundation,
    path: esf_str,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME),
             buffer(buffer, capacity, out_needed) => {
        buffer.put(foundation.foundation().config().get_str(path)?)
    } }
}

/// Resolves a key for reading it often.
///
/// Errors: ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH; ESF_E_TYPE_MISMATCH if the key is text of any
/// form or a part of the tree; ESF_E_RESOURCE_EXHAUSTED.
/// Threads: any, concurrently.
/// Ownership: the key is the caller's; free it with `esf_config_key_free`. It ends with its instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_key_resolve(
    foundation: *const esf_foundation,
    path: esf_str,
    out_key: *mut *mut esf_config_key,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), out(out_key) => {
        out_key.set(arg::to_handle(foundation.config_key(path)?));
        Ok(ESF_OK)
    } }
}

/// Frees a key. NULL is fine.
///
/// Errors: ESF_E_STALE_HANDLE if it was freed before or its instance was closed.
/// Threads: any.
/// Ownership: ends here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_key_free(key: *mut esf_config_key) -> esf_status {
    guard! { brief, optional_handle(key) => { arg::free_hot(handles::config_keys(), key) } }
}

/// The current value of a boolean key.
///
/// Errors: ESF_E_TYPE_MISMATCH.
/// Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_bool(key: *const esf_config_key, out_value: *mut bool) -> esf_status {
    guard! { hot, config_key(key), out(out_value) => {
        out_value.set(key.as_bool().ok_or(Code::TypeMismatch)?);
        Ok(ESF_OK)
    } }
}

/// The current value of an integer key.
///
/// Errors: ESF_E_TYPE_MISMATCH.
/// Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_i64(key: *const esf_config_key, out_value: *mut i64) -> esf_status {
    guard! { hot, config_key(key), out(out_value) => {
        out_value.set(key.as_i64().ok_or(Code::TypeMismatch)?);
        Ok(ESF_OK)
    } }
}

/// The current value of a numeric key.
///
/// Errors: ESF_E_TYPE_MISMATCH.
/// Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_f64(key: *const esf_config_key, out_value: *mut f64) -> esf_status {
    guard! { hot, config_key(key), out(out_value) => {
        out_value.set(key.as_f64().ok_or(Code::TypeMismatch)?);
        Ok(ESF_OK)
    } }
}

/// The current value of an enumeration key, as its word.
///
/// Errors: ESF_E_TYPE_MISMATCH.
/// Threads: any, concurrently; takes a few nanoseconds and waits for nobody.
/// Ownership: the text is static; nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_enum(
    key: *const esf_config_key,
    out_value: *mut esf_str,
) -> esf_status {
    guard! { brief, config_key(key), out(out_value) => {
        out_value.set(lend(key.get_enum()?));
        Ok(ESF_OK)
    } }
}

/// The current value of an enumeration key, as its word, into a buffer.
///
/// Errors: ESF_E_TYPE_MISMATCH; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently; waits for nobody.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_get_enum_into(
    key: *const esf_config_key,
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
) -> esf_status {
    guard! { brief, config_key(key), buffer(buffer, capacity, out_needed) => {
        Ok(buffer.fill(key.get_enum()?))
    } }
}

/// Sets one updatable key to a JSON value.
///
/// When the call returns, the change is stored as a `config_updated` event, counted, published to all
/// readers and on its way to subscribers; or, after an error, nothing has changed. `out_version` may be
/// NULL. An instance with files answers when the change and its event, which are one record, have
/// ESF_LEVEL_DURABLE, whatever its mode; the next instance that opens them has the value again.
///
/// Errors: ESF_E_CONFIG_UPDATE_FORBIDDEN, ESF_E_CONFIG_PATH_NOT_FOUND, ESF_E_INVALID_PATH,
/// ESF_E_FORMAT_ERROR if the value is no JSON, ESF_E_TYPE_MISMATCH, ESF_E_RANGE_ERROR and the other errors
/// of a value; ESF_E_SERVICE_UNAVAILABLE if the event could not be stored. ESF_E_IO_ERROR and ESF_E_NO_SPACE with
/// `context.applied` in their JSON say that the change is in force and not on the disk yet.
/// Threads: any, concurrently; updates follow one another.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_update(
    foundation: *const esf_foundation,
    path: esf_str,
    value_json: esf_str,
    out_version: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), json(value_json, MAX_JSON),
             optional_out(out_version) => {
        let version = foundation.foundation().config().update(path, value_json)?;
        arg::set_optional(out_version, version);
        Ok(ESF_OK)
    } }
}

/// Says whether `esf_config_update` would accept this value for this path, and changes nothing.
///
/// Errors: those of `esf_config_update`.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_check_update(
    foundation: *const esf_foundation,
    path: esf_str,
    value_json: esf_str,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), text(path, MAX_NAME), json(value_json, MAX_JSON) => {
        foundation.foundation().config().check_update(path, &value_json)?;
        Ok(ESF_OK)
    } }
}

/// Validates a whole tree, in which no key may be missing, and changes nothing. All violations are in the
/// error's JSON, in `context`.
///
/// Errors: ESF_E_FORMAT_ERROR if the tree is no JSON; the error of the first violation.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_validate(
    foundation: *const esf_foundation,
    tree_json: esf_str,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), json(tree_json, MAX_JSON) => {
        foundation.foundation().config().validate(&tree_json)?;
        Ok(ESF_OK)
    } }
}

/// Sets every key back to its default. Subscribers see one change, of the path that they subscribed to, with
/// all values below it before and after. `out_version` may be NULL.
///
/// Errors: ESF_E_SERVICE_UNAVAILABLE if the event could not be stored.
/// Threads: any, concurrently; follows the updates that are under way.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_reset(
    foundation: *const esf_foundation,
    out_version: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), optional_out(out_version) => {
        let version = foundation.foundation().config().reset()?;
        arg::set_optional(out_version, version);
        Ok(ESF_OK)
    } }
}

/// The version in force: 1 when the instance is opened, one more with every change.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_version(
    foundation: *const esf_foundation,
    out_version: *mut u64,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), instance(foundation), out(out_version) => {
        out_version.set(foundation.foundation().config().version());
        Ok(ESF_OK)
    } }
}

/// The paths that `esf_config_update` accepts, as a JSON list. It is the same for every instance.
///
/// Errors: those of the header's introduction.
/// Threads: any, concurrently.
/// Ownership: the text is the caller's; free it with `esf_string_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_updatable_paths_json(
    out_json: *mut esf_string,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), out(out_json) => { out_json.put(updatable_paths()) } }
}

/// The paths that `esf_config_update` accepts, as a JSON list, into a buffer.
///
/// Errors: those of the header's introduction; ESF_AGAIN if the buffer is too small.
/// Threads: any, concurrently.
/// Ownership: nothing to free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn esf_config_updatable_paths_json_into(
    buffer: *mut c_char,
    capacity: usize,
    out_needed: *mut usize,
    err: *mut *mut esf_error,
) -> esf_status {
    guard! { cold(err), buffer(buffer, capacity, out_needed) => { buffer.put(updatable_paths()) } }
}

fn updatable_paths() -> String {
    Value::from(Config::updatable_paths().to_vec()).to_string()
}
