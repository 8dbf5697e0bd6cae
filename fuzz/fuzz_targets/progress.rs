//! What an entrypoint says while it works, a line each.
#![no_main]

use handover_fuzz::round_trip;
use handover_model::Progress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(progress) = serde_json::from_slice::<Progress>(line) {
            round_trip(&progress);
            let printed = serde_json::to_string(&progress).expect("it prints");
            assert!(!printed.contains('\n'), "one line stays one line");
        }
    }
});
