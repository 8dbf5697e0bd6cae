//! The small checked types that all documents are made of.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use handover_model::{
    AgentName, ComponentName, Digest, Millis, OrderId, Pin, Platform, RunId, Timestamp, Version,
    VersionRange,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    prints_back::<Version>(text);
    prints_back::<VersionRange>(text);
    prints_back::<Pin>(text);
    prints_back::<Platform>(text);
    prints_back::<Millis>(text);
    prints_back::<Timestamp>(text);
    prints_back::<Digest>(text);
    prints_back::<RunId>(text);
    prints_back::<OrderId>(text);
    for name in [
        text.parse::<AgentName>().map(|n| n.to_string()),
        text.parse::<ComponentName>().map(|n| n.to_string()),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(name, text, "a name is kept as it is");
        assert!(
            !name.contains('/')
                && !name.contains("..")
                && !name.starts_with('.')
                && !name.is_empty(),
            "a name is one path component"
        );
    }
});

fn prints_back<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        assert_eq!(printed.parse::<T>().ok(), Some(value), "{text:?} prints as {printed:?}");
    }
}
