//! The packages of `attacks/` that must not be unpacked: each is refused by its own code, and
//! leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is their failure")]

use std::path::Path;

use camino::Utf8PathBuf;
use handover_agent::unpack::unpack;
use handover_model::{Digest, ReleaseFacts};
use serde_json::Value;

/// Unpacks one; says the code of the refusal, or `accepted`.
fn run(package: &Path, facts: &Value) -> String {
    let facts: ReleaseFacts = serde_json::from_value(facts.clone()).unwrap();
    let package = Utf8PathBuf::try_from(package.to_owned()).unwrap();
    let digest = Digest::of(&std::fs::read(&package).unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let incoming = Utf8PathBuf::try_from(scratch.path().to_owned()).unwrap();
    match unpack(&package, &incoming, &digest, &facts) {
        Ok(_) => "accepted".to_owned(),
        Err(refused) => {
            let left = std::fs::read_dir(&incoming).unwrap().count();
            assert_eq!(left, 0, "{package} left something behind");
            refused.code().to_owned()
        }
    }
}

#[test]
fn every_attack_by_archive_is_refused_by_its_own_code() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../attacks");
    let (mut ran, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(home).unwrap() {
        let directory = entry.unwrap().path();
        let package = directory.join("package.tar.zst");
        if !package.is_file() {
            continue;
        }
        ran += 1;
        let described = std::fs::read(directory.join("attack.json")).unwrap();
        let described: Value = serde_json::from_slice(&described).unwrap();
        let found = run(&package, &described["host"]["facts"]);
        if described["expect"] != found.as_str() {
            wrong
                .push(format!("{}: {found} instead of {}", described["name"], described["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 20, "only {ran} packages were found");
}
