//! Placeholder until the first bench lands.
fn main() {}
