//! Packages. Nothing is written outside the goal, nothing is left after a refusal, and what was
//! accepted keeps within what was signed. The first byte says whether the rest is the package, or
//! the archive to be compressed.
#![no_main]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use camino::Utf8PathBuf;
use handover_agent::unpack::unpack;
use handover_fuzz::scratch;
use handover_model::{Digest, ReleaseFacts};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<tempfile::TempDir> = LazyLock::new(scratch);

/// The facts of the honest archive among the attacks.
static FACTS: LazyLock<ReleaseFacts> = LazyLock::new(|| {
    let text = include_str!("../../attacks/archive-honest/attack.json");
    let attack: serde_json::Value = serde_json::from_str(text).expect("an attack");
    serde_json::from_value(attack["host"]["facts"].clone()).expect("facts")
});

fuzz_target!(|input: (bool, &[u8])| {
    let (is_package, bytes) = input;
    let root: Utf8PathBuf = SCRATCH.path().to_str().expect("UTF-8").into();
    let (incoming, package) = (root.join("in/incoming"), root.join("package"));
    fs::create_dir_all(&incoming).expect("a directory in memory");
    let packed =
        if is_package { bytes.to_vec() } else { zstd::encode_all(bytes, 1).expect("zstd") };
    fs::write(&package, packed).expect("a file in memory");
    fs::write(root.join("in/sentinel"), "untouched").expect("a file in memory");
    let digest = Digest::of(b"package");
    let outcome = unpack(&package, &incoming, &digest, &FACTS);
    assert_eq!(names(root.as_ref()), ["in", "package"]);
    assert_eq!(names(root.join("in").as_ref()), ["incoming", "sentinel"]);
    assert_eq!(fs::read(root.join("in/sentinel")).expect("it is there"), b"untouched");
    match outcome {
        Ok(unpacked) => {
            let goal = unpacked.path;
            assert_eq!(names(incoming.as_ref()), [digest.to_string()]);
            let (mut entries, mut bytes) = (0, 0);
            look(goal.as_ref(), goal.as_ref(), &mut entries, &mut bytes);
            assert!(bytes <= FACTS.unpacked_bytes, "{bytes} bytes");
            fs::remove_dir_all(&goal).expect("it can be removed");
        }
        Err(_) => assert!(names(incoming.as_ref()).is_empty(), "a refusal left something"),
    }
});

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn look(top: &Path, dir: &Path, entries: &mut u64, bytes: &mut u64) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        *entries += 1;
        if meta.is_symlink() {
            if let Ok(aim) = fs::canonicalize(&path) {
                assert!(aim.starts_with(top), "{path:?} leads to {aim:?}");
            }
            continue;
        }
        assert_eq!(meta.permissions().mode() & 0o7022, 0, "{path:?}");
        if meta.is_dir() {
            look(top, &path, entries, bytes);
        } else {
            assert!(meta.is_file(), "{path:?} is a special file");
            *bytes += meta.len();
        }
    }
}
