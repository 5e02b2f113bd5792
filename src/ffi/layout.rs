//! The layout of the header's structs, written down once: [`layout!`] holds Rust to it at compile time, and
//! `build.rs` reads the same tables to make the header's static assertions.

/// States a struct's size and the offset of each of its fields.
macro_rules! layout {
    ($($name:ident $size:literal { $($field:ident $offset:literal),+ $(,)? })+) => {
        $(const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)+
        };)+
    };
}
