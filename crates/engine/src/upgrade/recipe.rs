//! How a slot's process is launched, with every placeholder filled in.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{
    Check, CheckKind, Digest, Health, Layout, Manifest, Millis, Recipe, SocketSpec,
};

use super::{Command, Places, Refused};

/// The values of a release's parameters on a host: what the host says, else the defaults.
///
/// # Errors
/// [`Refused::Parameter`] when the host must say something and doesn't.
pub(super) fn parameters(
    manifest: &Manifest,
    host: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refused> {
    let value = |(name, parameter): (&String, &handover_model::Parameter)| {
        let value = host.get(name).or(parameter.default.as_ref());
        let value = value.ok_or_else(|| Refused::Parameter { name: name.clone() })?;
        Ok((name.clone(), value.clone()))
    };
    manifest.parameters.iter().map(value).collect()
}

/// What each placeholder stands for in a slot.
pub(super) fn places(
    layout: &Layout,
    manifest: &Manifest,
    parameters: &BTreeMap<String, String>,
    slot: &Utf8Path,
    state: Option<&Utf8Path>,
    config: &Utf8Path,
) -> Places {
    let mut places = Places::default()
        .with("slot", slot.as_str())
        .with("config", config.as_str())
        .with("root", layout.directory().as_str())
        .with("version", manifest.version.to_string());
    if let Some(state) = state {
        places = places.with("state", state.as_str());
    }
    for (name, value) in parameters {
        places = places.with(format!("param.{name}"), value);
    }
    places
}

/// How the release's process is launched from `slot`.
///
/// # Errors
/// [`Refused::Fill`] when a placeholder is unknown.
pub fn recipe(
    manifest: &Manifest,
    places: &Places,
    slot: &Utf8Path,
    executable_digest: Digest,
) -> Result<Recipe, Refused> {
    let service = &manifest.service;
    let arguments = fill_all(places, "an argument", &service.arguments)?;
    let mut environment = BTreeMap::new();
    for (name, value) in &service.environment {
        environment.insert(name.clone(), fill(places, &format!("variable {name}"), value)?);
    }
    let mut sockets = Vec::new();
    for socket in &service.sockets {
        let listen = fill(places, &format!("socket {}", socket.name), &socket.listen)?;
        sockets.push(SocketSpec { name: socket.name.clone(), listen });
    }
    Ok(Recipe {
        launcher: manifest.launcher,
        executable: slot.join(&service.executable),
        executable_digest,
        arguments,
        environment,
        directory: slot.to_owned(),
        user: service.user.clone(),
        stop: service.stop.clone(),
        readiness: service.readiness,
        sockets,
    })
}

/// The declared health, with every placeholder filled in and commands made absolute.
pub(super) fn health(
    manifest: &Manifest,
    places: &Places,
    slot: &Utf8Path,
) -> Result<Health, Refused> {
    let mut health = manifest.health.clone();
    for check in &mut health.checks {
        fill_check(check, places, slot)?;
    }
    Ok(health)
}

fn fill_check(check: &mut Check, places: &Places, slot: &Utf8Path) -> Result<(), Refused> {
    let place = format!("health check {}", check.name);
    match &mut check.kind {
        CheckKind::Http { url, contains, .. } => {
            *url = fill(places, &place, url)?;
            if let Some(wanted) = contains {
                *wanted = fill(places, &place, wanted)?;
            }
        }
        CheckKind::Reach { url, .. } => *url = fill(places, &place, url)?,
        CheckKind::Tcp { address, .. } => *address = fill(places, &place, address)?,
        CheckKind::Exec { command, .. } => {
            let filled = fill_all(places, &place, command)?;
            let (program, rest) = split(&place, filled)?;
            *command = std::iter::once(slot.join(program).into_string()).chain(rest).collect();
        }
    }
    Ok(())
}

/// A command whose first word is a path inside the package.
pub(super) fn command(
    place: &str,
    words: &[String],
    places: &Places,
    slot: &Utf8Path,
    user: Option<&String>,
    timeout: Millis,
) -> Result<Command, Refused> {
    let (program, arguments) = split(place, fill_all(places, place, words)?)?;
    Ok(Command {
        program: slot.join(program),
        arguments,
        environment: BTreeMap::new(),
        directory: slot.to_owned(),
        user: user.cloned(),
        timeout,
    })
}

/// A command of the host's own, found by `PATH` unless it is absolute.
pub(super) fn host_command(
    place: &str,
    words: &[String],
    places: &Places,
    slot: &Utf8Path,
    timeout: Millis,
) -> Result<Option<Command>, Refused> {
    if words.is_empty() {
        return Ok(None);
    }
    let (program, mut arguments) = split(place, fill_all(places, place, words)?)?;
    let program = if program.starts_with('/') {
        Utf8PathBuf::from(program)
    } else {
        arguments.insert(0, program);
        Utf8PathBuf::from("/usr/bin/env")
    };
    let directory = slot.to_owned();
    let environment = BTreeMap::new();
    Ok(Some(Command { program, arguments, environment, directory, user: None, timeout }))
}

pub(super) fn fill(places: &Places, place: &str, text: &str) -> Result<String, Refused> {
    places.fill(text).map_err(|source| Refused::Fill { place: place.to_owned(), source })
}

fn fill_all(places: &Places, place: &str, texts: &[String]) -> Result<Vec<String>, Refused> {
    places.fill_all(texts).map_err(|source| Refused::Fill { place: place.to_owned(), source })
}

fn split(place: &str, mut words: Vec<String>) -> Result<(String, Vec<String>), Refused> {
    if words.is_empty() {
        let why = "a command needs at least one word".to_owned();
        return Err(Refused::Manifest { place: place.to_owned(), why });
    }
    let rest = words.split_off(1);
    Ok((words.concat(), rest))
}

#[cfg(test)]
pub(super) fn recipe_for_tests(version: &str) -> Recipe {
    let text = format!(
        r#"{{"launcher": 1, "executable": "/r/{version}/web", "executable_digest": "{}",
        "arguments": [], "environment": {{}}, "directory": "/r", "readiness": "none",
        "stop": {{"signal": "TERM", "grace": "10s"}}}}"#,
        Digest::of(version.as_bytes())
    );
    serde_json::from_str(&text).expect("the text is a recipe")
}
