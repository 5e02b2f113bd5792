//! Contract tests: one suite for every implementation of a seam, and what the simulated ones add.

mod crash;
mod faults;
mod storage;
