//! Contract tests: one suite for every implementation of a seam.

mod storage;
