//! `launches.jsonl`, as a launcher that was cut anywhere may have left it: whole lines alone are
//! read, and a torn one never swallows the next.
#![no_main]

use std::sync::LazyLock;

use camino::Utf8PathBuf;
use handover_fuzz::{now, round_trip, scratch};
use handover_hoststeps::disk::{append_line, read_last_lines, read_lines};
use handover_model::{LaunchEvent, LaunchRecord};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<tempfile::TempDir> = LazyLock::new(scratch);

fuzz_target!(|bytes: &[u8]| {
    let dir: Utf8PathBuf = SCRATCH.path().to_str().expect("UTF-8").into();
    let path = dir.join("launches.jsonl");
    std::fs::write(&path, bytes).expect("a file in memory");
    let before = read_lines(&path).expect("it can be read");
    for line in &before {
        assert!(!line.is_empty() && !line.contains('\n'));
        if let Ok(record) = serde_json::from_str::<LaunchRecord>(line) {
            round_trip(&record);
        }
    }
    let record = LaunchRecord { at: now(), launcher: 1, event: LaunchEvent::Ready { pid: 2 } };
    let line = serde_json::to_string(&record).expect("it prints");
    append_line(&path, &line).expect("it is appended");
    let after = read_lines(&path).expect("it can be read");
    assert_eq!(after.last(), Some(&line));
    assert_eq!(after[..before.len()], before, "what was there stays");
    let last = read_last_lines(&path, 1000).expect("it can be read");
    assert_eq!(last.last(), Some(&line));
});
