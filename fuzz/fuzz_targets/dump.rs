//! See `tests/src/fuzz/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_tests::fuzz::run("dump", data));
