#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procpool_fuzz::journal::check(data));
