//! The chapter in which the file server belongs to somebody else. The attacker holds everything
//! that was ever published, and none of the keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::chapters::{no_failure, settled};
use super::publisher::put;
use super::stage::Stage;

/// The exit code of a command that was refused.
const REFUSED: i32 = 3;
/// The exit code of a command that found another at work.
const BUSY: i32 = 7;

/// Keeps a copy of what is public now, as any attacker could.
pub(super) fn keep_copy(stage: &Stage, name: &str) -> anyhow::Result<PathBuf> {
    let copy = stage.directory().join("attacks").join(name);
    copy_tree(&stage.publisher.public(), &copy)
        .with_context(|| format!("could not copy to {}", copy.display()))?;
    Ok(copy)
}

/// Four attacks, each refused by name.
pub(super) fn attackers(stage: &mut Stage, old: &Path) -> anyhow::Result<()> {
    stage.story.chapter("The file server falls into other hands");
    stage.tally();

    let unsigned = keep_copy(stage, "unsigned")?;
    strip_signatures(&unsigned.join("metadata/timestamp.json"))?;
    attack(stage, "unsigned: the attacker writes news of their own", &unsigned, "unsigned")?;
    attack(stage, "rolled back: yesterday's repository, truly signed", old, "rollback")?;

    let frozen = freeze(stage)?;
    attack(stage, "frozen: the same news for ever, until it expires", &frozen, "freeze")?;

    let mixed = mix(stage, old)?;
    attack(stage, "mixed: today's list, yesterday's content", &mixed, "mix-and-match")?;

    stage.server.serve_instead(&stage.publisher.public());
    refresh(stage)?;
    // A look that succeeds also ends the agents' caution: an edited policy is read at once.
    for host in &stage.hosts {
        let policy = host.root().join("policy.yaml");
        let text = fs::read(&policy)?;
        put(&policy, &text, 0o644)?;
    }
    stage.expect_everywhere(
        "1.1.0 serves, whatever was tried",
        Duration::from_secs(10),
        |host| settled(host, "1.1.0"),
    )?;
    no_failure(stage)
}

/// Serves `repository` and asks the first host to look. It must refuse, by the name `code`.
fn attack(stage: &mut Stage, what: &str, repository: &Path, code: &str) -> anyhow::Result<()> {
    stage.server.serve_instead(repository);
    let mut answer = stage.hosts[0].command(&["check"])?;
    while answer.status.code() == Some(BUSY) {
        stage.rest(Duration::from_millis(50))?;
        answer = stage.hosts[0].command(&["check"])?;
    }
    let said = format!("{}{}", answer.out, answer.err);
    let json = said.find('{').and_then(|at| serde_json::from_str::<Value>(&said[at..]).ok());
    let name = json.as_ref().map(|json| json["error"].clone());
    let name = name.as_ref().and_then(Value::as_str).unwrap_or("").to_owned();
    let found = if answer.status.code() == Some(REFUSED) && name.ends_with(code) {
        Ok(format!("refused as \"{name}\""))
    } else {
        Err(format!("{}: {}", answer.status, said.trim()))
    };
    stage.story.check(what, found);
    Ok(())
}

/// Takes every signature off a document.
fn strip_signatures(path: &Path) -> anyhow::Result<()> {
    let mut document: Value = serde_json::from_slice(&fs::read(path)?)?;
    let version = document["signed"]["version"].as_u64().context("a timestamp has a version")?;
    document["signed"]["version"] = Value::from(version + 1);
    document["signatures"] = Value::Array(Vec::new());
    put(path, document.to_string().as_bytes(), 0o644)
}

/// Hosts see a timestamp that holds for two seconds; then the attacker shows it for ever.
fn freeze(stage: &mut Stage) -> anyhow::Result<PathBuf> {
    let before = lifetime(stage, "2s")?;
    refresh(stage)?;
    let frozen = keep_copy(stage, "frozen")?;
    stage.server.serve_instead(&frozen);
    let seen = stage.hosts[0].command(&["check"])?;
    ensure!(seen.status.success(), "while it holds, it is believed: {}{}", seen.out, seen.err);
    lifetime(stage, &before)?;
    stage.rest(Duration::from_millis(2200))?;
    Ok(frozen)
}

/// Sets how long a timestamp holds; returns how long it did.
fn lifetime(stage: &Stage, length: &str) -> anyhow::Result<String> {
    let path = stage.publisher.repository().join("repository.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let before = settings["timestamp"].as_str().context("it has a length")?.to_owned();
    settings["timestamp"] = Value::from(length);
    put(&path, settings.to_string().as_bytes(), 0o644)?;
    Ok(before)
}

/// A true timestamp over an old snapshot.
fn mix(stage: &Stage, old: &Path) -> anyhow::Result<PathBuf> {
    stage.publisher.renew("web")?;
    let mixed = keep_copy(stage, "mixed")?;
    let newest = newest_snapshot(&mixed)?;
    fs::copy(newest_snapshot(old)?, newest)?;
    Ok(mixed)
}

/// The snapshot with the highest version.
fn newest_snapshot(repository: &Path) -> anyhow::Result<PathBuf> {
    let names = fs::read_dir(repository.join("metadata"))?.flatten().map(|entry| entry.path());
    let version = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".snapshot.json")?;
        name.parse::<u64>().ok()
    };
    names.filter(|path| version(path).is_some()).max_by_key(version).context("there is a snapshot")
}

fn refresh(stage: &Stage) -> anyhow::Result<()> {
    let repository = stage.publisher.repository();
    stage.publisher.handover(&["repo", "refresh", super::publisher::text(&repository)?])?;
    Ok(())
}

/// Copies a tree. Packages are linked: nobody here writes into one.
fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, goal) = (entry.path(), to.join(entry.file_name()));
        let is_package = path.extension().is_some_and(|ending| ending == "zst");
        if entry.file_type()?.is_dir() {
            copy_tree(&path, &goal)?;
        } else if !is_package || fs::hard_link(&path, &goal).is_err() {
            fs::copy(&path, &goal)?;
        }
    }
    Ok(())
}
