//! A release's description: `release.yaml` as its author writes it, `handover/release.json` as a
//! host reads it.
#![no_main]

use handover_fuzz::round_trip;
use handover_model::{Digest, Manifest, Platform, ReleaseFacts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let yaml = std::str::from_utf8(bytes).ok().and_then(|text| serde_saphyr::from_str(text).ok());
    let json: Option<Manifest> = serde_json::from_slice(bytes).ok();
    for manifest in [yaml, json].into_iter().flatten() {
        round_trip::<Manifest>(&manifest);
        // What is signed of it says the same.
        let platform: Platform = "linux-x86_64".parse().expect("a platform");
        let facts = manifest.facts(platform, Digest::of(bytes), 1, 1);
        assert_eq!((&facts.component, &facts.version), (&manifest.component, &manifest.version));
        round_trip::<ReleaseFacts>(&facts);
    }
});
