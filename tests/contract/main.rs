//! Contract tests: one suite for every implementation of a seam, with what the simulated ones add, and one for every
//! language.

mod crash;
mod faults;
mod queries;
mod storage;
