//! Shared libraries that are opened while the program runs: ours, since C is measured through it, and peers that come
//! as such.

use std::ffi::{CStr, CString, c_void};
use std::path::Path;

/// An open library; it is never closed.
#[derive(Clone, Copy)]
pub struct Library(*mut c_void);

impl Library {
    /// Opens the library at this path or of this name; the error is the loader's.
    pub fn open(path: &Path) -> Result<Self, String> {
        let name = CString::new(path.to_string_lossy().as_bytes()).expect("a path has no NUL");
        // SAFETY: the name is a C string; the initialisers of these libraries are their language's runtime.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            // SAFETY: dlerror answers a C string, or null if there was no error; it is copied at once.
            let error = unsafe { libc::dlerror() };
            return Err(if error.is_null() {
                "dlopen failed".to_owned()
            } else {
                // SAFETY: as above.
                unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()
            });
        }
        Ok(Self(library))
    }

    /// The function of this name. `F` must be its type as a function pointer.
    pub fn symbol<F: Copy>(self, name: &CStr) -> F {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "F is a function pointer");
        // SAFETY: the handle is of an open library; the name is a C string.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!address.is_null(), "the library has no {name:?}");
        // SAFETY: the function of this name has this type in the library's header, and is never unloaded.
        unsafe { std::mem::transmute_copy(&address) }
    }
}

/// Declares the functions of a library that are used, with the types of its header, and how they are found.
#[cfg(feature = "peers")]
macro_rules! functions {
    ($($name:ident: $symbol:literal fn($($argument:ty),*) $(-> $answer:ty)?;)*) => {
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) $(-> $answer)?,)* }

        impl Functions {
            fn of(library: $crate::library::Library) -> Self {
                Self { $($name: library.symbol($symbol),)* }
            }
        }
    };
}
#[cfg(feature = "peers")]
pub(crate) use functions;
