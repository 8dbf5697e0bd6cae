//! Journals. The first byte says whether the rest is a file, or records (a line each) whose chain
//! is made here, so that what lies behind the sums is reached too.
#![no_main]

use std::time::Duration;

use handover_engine::journal::{Body, Replay, write_line};
use handover_engine::run::Core;
use handover_fuzz::now;
use handover_model::{Digest, Hasher, Now, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (is_file, cut, bytes) = input;
    let file = if is_file { bytes.to_vec() } else { chained(bytes) };
    let Ok(replay) = Replay::of(&file) else { return };
    assert!(replay.good_len() <= file.len());
    assert_eq!(replay.was_torn(), replay.good_len() < file.len());
    a_cut_file_holds_a_beginning(&file[..usize::from(cut) % (file.len() + 1)], &replay);
    written_again_it_reads_the_same(&replay);
    can_be_opened(&replay);
});

fn a_cut_file_holds_a_beginning(file: &[u8], whole: &Replay) {
    let part = Replay::of(file).expect("a cut is no damage");
    assert_eq!(part.records(), &whole.records()[..part.records().len()]);
    assert!(whole.passed(part.head()));
}

fn written_again_it_reads_the_same(replay: &Replay) {
    if replay.records().iter().any(|record| record.body == Body::Foreign) {
        return; // a note that this program does not know has no form here
    }
    let (mut file, mut head) = (String::new(), Replay::empty().head());
    for record in replay.records() {
        let (line, next) = write_line(head, record).expect("a record can be written");
        file.push_str(&line);
        head = next;
    }
    let again = Replay::of(file.as_bytes()).expect("what was written is read");
    assert_eq!(again.records(), replay.records());
    assert_eq!(again.head(), head);
}

/// A chain that holds may still tell of the impossible: that is refused, not believed.
fn can_be_opened(replay: &Replay) {
    let Some(Body::Begin { run, party, plan }) = replay.records().first().map(|first| &first.body)
    else {
        return;
    };
    let (engine, now) = (Version::new(1, 0, 0), Now { wall: now(), mono: Duration::ZERO });
    if let Ok(mut core) = Core::open(*run, (**plan).clone(), party, &engine, replay, now) {
        for _effect in 0..1000 {
            if core.poll().is_none() {
                break;
            }
        }
        let _ = core.standing();
        core.handle_timeout(now);
    }
}

fn chained(records: &[u8]) -> Vec<u8> {
    let (mut file, mut prev) = (Vec::new(), Replay::empty().head());
    for raw in records.split(|byte| *byte == b'\n').filter(|raw| !raw.is_empty()) {
        let mut hasher = Hasher::default();
        hasher.update(prev.as_bytes());
        hasher.update(raw);
        let sum: Digest = hasher.finish();
        file.extend_from_slice(b"{\"rec\":");
        file.extend_from_slice(raw);
        file.extend_from_slice(format!(",\"prev\":\"{prev}\",\"sum\":\"{sum}\"}}\n").as_bytes());
        prev = sum;
    }
    file
}
