//! Publishing with the real command, as its keyholders would type it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is their failure")]

#[path = "publishing/ceremony.rs"]
mod ceremony;
#[path = "publishing/desk.rs"]
mod desk;
#[path = "publishing/ngclient.rs"]
mod ngclient;
