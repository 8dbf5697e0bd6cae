//! A small HTTP service such as you might write, with what makes it a good citizen of Handover:
//! it takes over its listening socket, says when it is ready, finishes what it began when it is
//! stopped, keeps state with a schema number, and can migrate that state up and down.
//!
//! One executable stands for every version: `behaviour.json` in the package says which version it
//! is, and how well it behaves.

mod behaviour;
mod http;
mod launched;
mod serve;
mod store;

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::behaviour::Behaviour;
use crate::store::Store;

const USAGE: &str = "usage:
  handover-sample-web serve --package DIR --state DIR [--listen HOST:PORT]
  handover-sample-web migrate up|down --state DIR
  handover-sample-web self-test --package DIR";

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = words.split_first().context(USAGE)?;
    match verb.as_str() {
        "serve" => {
            let behaviour = Behaviour::load(&path_after("--package", rest)?)?;
            serve::run(&behaviour, &path_after("--state", rest)?, option("--listen", rest))
        }
        "migrate" => {
            let state = path_after("--state", rest)?;
            match rest.first().map(String::as_str) {
                Some("up") => Store::migrate(&state, 1, 2),
                Some("down") => Store::migrate(&state, 2, 1),
                Some(_) | None => bail!("{USAGE}"),
            }
        }
        "self-test" => Behaviour::load(&path_after("--package", rest)?).map(|_loaded| ()),
        _ => bail!("{USAGE}"),
    }
}

/// The word after `flag`, if `flag` is there.
fn option<'a>(flag: &str, words: &'a [String]) -> Option<&'a str> {
    words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1)).map(String::as_str)
}

fn path_after(flag: &str, words: &[String]) -> anyhow::Result<PathBuf> {
    option(flag, words).map(PathBuf::from).with_context(|| format!("{flag} is missing\n{USAGE}"))
}
