//! Selections, as people and programs type them. What parses prints to what parses to the same;
//! a column lies in the text; nothing is offered outside of it.
#![no_main]

use handover_engine::selection::{Selection, Vocabulary, complete};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Selection::parse(text) {
        Ok(selection) => {
            let printed = selection.to_string();
            assert_eq!(Selection::parse(&printed).ok(), Some(selection.clone()), "{printed:?}");
            assert!(!(selection.is_everything() && selection.is_nothing()));
            let _ = selection.unknown(&Vocabulary::default());
        }
        Err(error) => {
            let columns = text.chars().count() + 1;
            assert!(error.column().is_none_or(|column| (1..=columns).contains(&column)));
        }
    }
    for one in complete(text, text.len(), &Vocabulary::default()) {
        assert!(one.from <= one.to && one.to == text.len());
    }
});
