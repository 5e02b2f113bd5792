//! How often a property is tried.

use proptest::test_runner::Config;

/// So often as a rule, or `PROPTEST_CASES` times where that is set and more, as `make test-long` does.
pub fn tried(usual: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: usual.max(asked.unwrap_or(0)), ..Config::default() }
}
