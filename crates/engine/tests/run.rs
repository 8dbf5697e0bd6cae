//! The runner's core and its journal: each rule, random histories against a small model, and
//! journals that were torn or touched.

#[path = "run/journal.rs"]
mod journal;
#[path = "run/model.rs"]
mod model;
#[path = "run/rules.rs"]
mod rules;
#[path = "run/support.rs"]
mod support;
