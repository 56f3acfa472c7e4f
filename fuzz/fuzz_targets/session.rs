#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mezzenger_fuzz_checks::session(data));
