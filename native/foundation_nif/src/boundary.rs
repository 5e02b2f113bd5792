//! The boundary that every NIF's body is wrapped in, and what makes terms out of errors.
//!
//! [`guard`] turns an error, and a panic too, into `{:error, %ElixirScope.Foundation.Error{}}`: no mistake of a
//! caller and none of ours raises in the calling process, and none takes the VM down.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use elixirscope_foundation::error::{Category, Code, Error};
use rustler::sys::ErlNifTerm;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Term};
use serde_json::Value;

use crate::atoms;
use crate::terms::{Keys, date_time, from_value, known_atom, map_of};

/// Runs a NIF's body; what it returns is what the caller gets.
///
/// A panic leaves no broken state behind: what the bodies share is either the core's, which heals by itself,
/// or behind locks whose poison is ignored because every step leaves the data whole.
#[inline]
pub(crate) fn guard<'a>(env: Env<'a>, body: impl FnOnce() -> Result<Term<'a>, Error>) -> Term<'a> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(term)) => term,
        Ok(Err(error)) => failure(env, &error),
        Err(payload) => failure(env, &panicked(payload.as_ref())),
    }
}

/// Makes a function a NIF of the same name, as `#[rustler::nif]` does, for NIFs that take less time than the memory
/// which that allocates for the arguments of each call. Each argument is a `Term`; the result is one.
macro_rules! quick_nif {
    ($name:ident($($argument:ident),+)) => {
        rustler::codegen_runtime::inventory::submit!(rustler::Nif {
            name: concat!(stringify!($name), "\0").as_ptr().cast(),
            arity: [$(stringify!($argument)),+].len() as u32,
            flags: 0,
            raw_func: {
                unsafe extern "C" fn call(
                    env: *mut rustler::sys::ErlNifEnv,
                    _count: std::ffi::c_int,
                    arguments: *const rustler::sys::ErlNifTerm,
                ) -> rustler::sys::ErlNifTerm {
                    const COUNT: usize = [$(stringify!($argument)),+].len();
                    let lifetime = ();
                    // SAFETY: the VM calls this with an environment that lives until the call is over, and with as
                    // many terms of it as the arity says.
                    let (env, arguments) = unsafe {
                        let env = rustler::Env::new(&lifetime, env);
                        let arguments = arguments.cast::<[rustler::sys::ErlNifTerm; COUNT]>().read();
                        (env, arguments.map(|argument| rustler::Term::new(env, argument)))
                    };
                    let [$($argument),+] = arguments;
                    $crate::boundary::last_resort(env, || $name(env, $($argument),+))
                }
                call
            },
        });
    };
}
pub(crate) use quick_nif;

/// Nothing unwinds into the VM, not even a panic while [`guard`] makes the term of an error.
#[inline]
pub(crate) fn last_resort<'a>(env: Env<'a>, nif: impl FnOnce() -> Term<'a>) -> ErlNifTerm {
    catch_unwind(AssertUnwindSafe(nif)).unwrap_or_else(|_panic| atoms::error().encode(env)).as_c_arg()
}

#[cold]
fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message");
    Error::new(
        Code::InternalError,
        format!("the native library panicked: {text}. The VM and the instance go on; please report it"),
    )
}

/// `{:error, %Error{}}`.
#[cold]
pub(crate) fn failure<'a>(env: Env<'a>, error: &Error) -> Term<'a> {
    (atoms::error(), error_struct(env, error)).encode(env)
}

fn error_struct<'a>(env: Env<'a>, error: &Error) -> Term<'a> {
    let row = error.code().row();
    let actions: Vec<&str> = error.code().recovery_actions().to_vec();
    let pairs: [(Term<'a>, Term<'a>); 13] = [
        (atoms::__struct__().encode(env), atoms::error_module().encode(env)),
        (atoms::code().encode(env), row.code.encode(env)),
        (atoms::error_type().encode(env), word(env, row.name)),
        (atoms::message().encode(env), error.message().encode(env)),
        (atoms::severity().encode(env), word(env, row.severity.name())),
        (atoms::context().encode(env), context(env, error, row.category)),
        (atoms::correlation_id().encode(env), error.correlation_id().encode(env)),
        (atoms::timestamp().encode(env), date_time(env, error.timestamp_ns())),
        (atoms::stacktrace().encode(env), atoms::nil().encode(env)),
        (atoms::category().encode(env), word(env, row.category.name())),
        (atoms::subcategory().encode(env), word(env, row.subcategory)),
        (atoms::retry_strategy().encode(env), word(env, row.retry.name())),
        (atoms::recovery_actions().encode(env), actions.encode(env)),
    ];
    map_of(env, &pairs)
}

/// A word of the error table as an atom: there are few, so the VM may well be made to have them all.
fn word<'a>(env: Env<'a>, word: &'static str) -> Term<'a> {
    Atom::from_str(env, word).map_or_else(|_| word.encode(env), |atom| atom.encode(env))
}

fn context<'a>(env: Env<'a>, error: &Error, category: Category) -> Term<'a> {
    let paths = category == Category::Config;
    let mut map = Term::map_new(env);
    for (key, value) in error.context() {
        let term = match (key.as_str(), value) {
            ("path", Value::String(path)) if paths => path_term(env, path),
            ("allowed_paths", Value::Array(all)) => {
                let all: Vec<Term<'a>> =
                    all.iter().filter_map(Value::as_str).map(|p| path_term(env, p)).collect();
                all.encode(env)
            }
            ("violations", Value::Array(all)) => {
                let all: Vec<Term<'a>> = all.iter().map(|violation| violation_term(env, violation)).collect();
                all.encode(env)
            }
            _ => from_value(env, value, Keys::Atoms),
        };
        map = map.map_put(known_atom(env, key), term).unwrap_or(map);
    }
    map
}

fn violation_term<'a>(env: Env<'a>, violation: &Value) -> Term<'a> {
    let Value::Object(fields) = violation else { return from_value(env, violation, Keys::Atoms) };
    let mut map = Term::map_new(env);
    for (key, value) in fields {
        let term = match (key.as_str(), value) {
            ("path", Value::String(path)) => path_term(env, path),
            ("error_type", Value::String(name)) => known_atom(env, name),
            _ => from_value(env, value, Keys::Atoms),
        };
        map = map.map_put(known_atom(env, key), term).unwrap_or(map);
    }
    map
}

/// `ai.planning` as `[:ai, :planning]`; what names no atom stays text.
pub(crate) fn path_term<'a>(env: Env<'a>, path: &str) -> Term<'a> {
    let parts: Vec<Term<'a>> =
        path.split('.').filter(|part| !part.is_empty()).map(|part| known_atom(env, part)).collect();
    parts.encode(env)
}
