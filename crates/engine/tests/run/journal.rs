//! A journal that is torn is cut; a journal that was touched is refused by name.

use crate::support::{Desk, plan, step};
use handover_engine::journal::{Body, JournalError, Replay, write_line};
use handover_engine::run::{Refused, summarize};
use serde_json::json;

/// A finished run of three steps, as bytes.
fn journal() -> Vec<u8> {
    let plan = plan(vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])]);
    let mut desk = Desk::new(plan);
    desk.run_well();
    desk.bytes()
}

#[test]
fn a_journal_cut_anywhere_keeps_its_whole_lines() {
    let bytes = journal();
    let whole = Replay::of(&bytes).unwrap();
    for cut in 0..=bytes.len() {
        let part = Replay::of(&bytes[..cut]).unwrap();
        let lines = bytes[..cut].split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(part.records(), &whole.records()[..lines], "cut at {cut}");
        let end = bytes[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        assert_eq!((part.good_len(), part.was_torn()), (end, end != cut), "cut at {cut}");
        assert!(summarize(&part).is_ok(), "cut at {cut}");
    }
}

#[test]
fn a_journal_with_any_byte_changed_is_refused_or_torn() {
    let bytes = journal();
    let head = Replay::of(&bytes).unwrap().head();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            match Replay::of(&bad) {
                Err(
                    JournalError::Form { .. }
                    | JournalError::Chain { .. }
                    | JournalError::Sum { .. },
                ) => {}
                Err(JournalError::Unknown { .. }) => panic!("byte {at}: called unknown"),
                // Only the very last line end: the last line is torn then, and not believed.
                Ok(replay) => {
                    assert_eq!(at, bytes.len() - 1, "byte {at} was changed unnoticed");
                    assert!(replay.was_torn() && replay.head() != head);
                }
            }
        }
    }
}

#[test]
fn lines_that_are_lost_moved_or_doubled_are_noticed() {
    let bytes = journal();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() - 1 {
        let mut lost = lines.clone();
        lost.remove(at);
        let chain = |lines: &[&[u8]]| Replay::of(&lines.concat());
        assert!(matches!(chain(&lost), Err(JournalError::Chain { .. })), "line {at} lost");
        let mut moved = lines.clone();
        moved.swap(at, at + 1);
        assert!(matches!(chain(&moved), Err(JournalError::Chain { .. })), "line {at} moved");
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at]);
        assert!(matches!(chain(&doubled), Err(JournalError::Chain { .. })), "line {at} doubled");
    }
}

/// Appends a record as another program would write it.
fn append_raw(bytes: &[u8], raw: &str) -> Vec<u8> {
    let head = Replay::of(bytes).expect("it is whole").head();
    let sum = handover_model::Digest::of(&[head.as_bytes().as_slice(), raw.as_bytes()].concat());
    let line = format!("{{\"rec\":{raw},\"prev\":\"{head}\",\"sum\":\"{sum}\"}}\n");
    [bytes, line.as_bytes()].concat()
}

#[test]
fn an_unknown_record_refuses_the_run_and_a_note_does_not() {
    let bytes = journal();
    let raw = r#"{"at":"2026-01-01T00:00:00Z","is":"weather","sky":"grey"}"#;
    let refused = Replay::of(&append_raw(&bytes, raw)).unwrap_err();
    assert!(matches!(refused, JournalError::Unknown { is, .. } if is == "weather"));
    let raw = r#"{"at":"2026-01-01T00:00:00Z","is":"weather","note":true,"sky":"grey"}"#;
    let replay = Replay::of(&append_raw(&bytes, raw)).unwrap();
    assert_eq!(replay.records().last().unwrap().body, Body::Foreign);
    assert!(summarize(&replay).unwrap().unwrap().ended.is_some());
}

#[test]
fn a_chained_record_that_cannot_follow_is_refused() {
    let bytes = journal();
    let replay = Replay::of(&bytes).unwrap();
    for body in [
        Body::Done { step: "a".parse().unwrap(), outputs: json!(1) },
        Body::Reverted { step: "a".parse().unwrap() },
        Body::Reverting { step: "c".parse().unwrap() },
        Body::Satisfied { step: "b".parse().unwrap(), outputs: json!(1) },
        Body::Retried { step: "b".parse().unwrap() },
        Body::Done { step: "nobody".parse().unwrap(), outputs: json!(1) },
        replay.records()[0].body.clone(),
    ] {
        let record = handover_engine::journal::Record { at: replay.records()[0].at, body };
        let (line, _) = write_line(replay.head(), &record).unwrap();
        let forged = Replay::of(&[bytes.as_slice(), line.as_bytes()].concat()).unwrap();
        let refused = summarize(&forged).unwrap_err();
        assert!(matches!(refused, Refused::Impossible { .. }), "{:?}", record.body);
    }
}
