//! What a description must not say, rule by rule.

use std::collections::BTreeSet;

use camino::Utf8Path;
use handover_engine::upgrade::BRINGS_LAUNCHER;
use handover_model::{
    CheckKind, LAUNCHER_PROTOCOL, MANIFEST_FORMAT, Manifest, Millis, OnRevert, StateSpec,
};
use handover_trust::author::TargetsDoc;

use super::Problem;

const SIGNALS: [&str; 6] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"];
const PLACEHOLDERS: [&str; 5] = ["slot", "state", "config", "root", "version"];
/// Thirty days: a host that may return for longer holds a state that nobody remembers.
const LONGEST_RETURN: Millis = Millis(30 * 86_400_000);

/// Everything that a description says against itself.
pub(super) fn within(manifest: &Manifest) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    found.head(manifest);
    if let Some(state) = &manifest.state {
        found.state(manifest, state);
    }
    found.reverting(manifest);
    found.service(manifest);
    found.health(manifest);
    found.files(manifest);
    found.placeholders(manifest);
    found.0
}

/// What it says against what is published.
pub(super) fn against(manifest: &Manifest, published: &TargetsDoc) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    let others = published.releases().filter(|(_, facts)| facts.version != manifest.version);
    let highest = others.map(|(_, facts)| facts.sequence).max().unwrap_or(0);
    let same = published.releases().find(|(_, facts)| facts.version == manifest.version);
    if let Some((path, facts)) = same {
        if facts.sequence != manifest.sequence {
            found.push(
                "sequence",
                format!("{path} was published with {}", facts.sequence),
                format!("say {} for further platforms, or a new version", facts.sequence),
            );
        }
    } else if manifest.sequence <= highest {
        found.push(
            "sequence",
            format!("{} is taken or passed; the highest published is {highest}", manifest.sequence),
            format!("say {}", highest + 1),
        );
    }
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    fn push(&mut self, field: impl Into<String>, what: impl Into<String>, out: impl Into<String>) {
        let (field, what, way_out) = (field.into(), what.into(), out.into());
        self.0.push(Problem { field, line: None, what, way_out });
    }

    fn head(&mut self, manifest: &Manifest) {
        if manifest.format != MANIFEST_FORMAT {
            let what = format!("{} is not a format of this program", manifest.format);
            self.push("format", what, format!("say {MANIFEST_FORMAT}"));
        }
        if manifest.sequence == 0 {
            self.push("sequence", "it counts from 1", "say 1 for the first release");
        }
        if manifest.upgrades_from.holds(&manifest.version) {
            self.push(
                "upgrades_from",
                format!("{} would take over from itself", manifest.version),
                format!("end the range with `<{}`", manifest.version),
            );
        }
        if manifest.also_from.contains(&manifest.version) {
            self.push("also_from", "it names the release itself", "take it out");
        }
        if manifest.floor && manifest.also_from.iter().any(|from| *from > manifest.version) {
            self.push(
                "floor",
                "a floor can't be passed downwards, yet also_from names a higher version",
                "take the higher version out of also_from, or `floor` away",
            );
        }
        if manifest.launcher > LAUNCHER_PROTOCOL {
            let what = format!("this build's launcher speaks up to {LAUNCHER_PROTOCOL}");
            self.push("launcher", what, "ask for less, or build with a newer Handover");
        }
        if manifest.keep == 0 {
            self.push("keep", "the last good release is always kept", "say 1 or more");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if manifest.channel.is_empty() || !manifest.channel.chars().all(plain) {
            self.push("channel", "it is not a plain word", "use letters, digits and hyphens");
        }
    }

    fn state(&mut self, manifest: &Manifest, state: &StateSpec) {
        if manifest.component.as_str() == BRINGS_LAUNCHER {
            let what = format!(
                "copying it would stop {}, which runs the very upgrade that copies it",
                manifest.component
            );
            self.push("state", what, "take it out: the agent keeps what it must under the root");
        }
        if state.schema == 0 {
            self.push("state.schema", "schemas count from 1", "say 1 for the first");
        }
        let mut from: Vec<u32> = Vec::new();
        for (at, migration) in state.migrations.iter().enumerate() {
            let field = |part: &str| format!("state.migrations[{at}].{part}");
            if from.contains(&migration.from) {
                let what = format!("two migrations start from {}", migration.from);
                self.push(field("from"), what, "keep one");
            }
            from.push(migration.from);
            if migration.from == 0 || migration.from >= state.schema {
                let what =
                    format!("no migration from {} leads to {}", migration.from, state.schema);
                self.push(field("from"), what, "correct it, or state.schema");
            }
            if migration.up.is_empty() {
                self.push(field("up"), "there is no command", "name one");
            }
            if manifest.on_revert == OnRevert::MigrateDown && migration.down.is_empty() {
                self.push(
                    field("down"),
                    "on_revert is migrate-down, but this migration has no way back",
                    "name a command, or say `on_revert: restore`",
                );
            }
            self.command(&field("up"), &migration.up);
            self.command(&field("down"), &migration.down);
            self.positive(&field("timeout"), migration.timeout);
        }
        let lowest = from.iter().min().copied().unwrap_or(state.schema);
        for missing in (lowest..state.schema).filter(|schema| !from.contains(schema)) {
            self.push(
                "state.migrations",
                format!("nothing leads from schema {missing} to {}", missing.saturating_add(1)),
                format!("add a migration `from: {missing}`"),
            );
        }
    }

    fn reverting(&mut self, manifest: &Manifest) {
        if manifest.on_revert == OnRevert::MigrateDown && manifest.state.is_none() {
            self.push(
                "on_revert",
                "migrate-down without state has nothing to migrate",
                "describe `state`, or take on_revert away",
            );
        }
        if let Some(length) = manifest.return_within {
            if length > LONGEST_RETURN {
                let what = format!("{length} is longer than {LONGEST_RETURN}");
                self.push("return_within", what, "use a permit for going back that late");
            }
            self.positive("return_within", length);
        }
    }

    fn service(&mut self, manifest: &Manifest) {
        let service = &manifest.service;
        self.inside("service.executable", &service.executable);
        if !SIGNALS.contains(&service.stop.signal.as_str()) {
            let what = format!("{:?} is not a signal to stop with", service.stop.signal);
            self.push("service.stop.signal", what, format!("use {}", SIGNALS.join(", ")));
        }
        let mut names = BTreeSet::new();
        for (at, socket) in service.sockets.iter().enumerate() {
            if !names.insert(&socket.name) {
                let what = format!("two sockets are named {}", socket.name);
                self.push(format!("service.sockets[{at}].name"), what, "rename one");
            }
            if socket.name.is_empty() || socket.name.contains(':') {
                let field = format!("service.sockets[{at}].name");
                self.push(field, "LISTEN_FDNAMES can't carry it", "use a word without `:`");
            }
            if !socket.listen.contains(':') {
                let field = format!("service.sockets[{at}].listen");
                self.push(field, "it is no address", "write HOST:PORT or unix:/path");
            }
        }
        for reserved in service.environment.keys().filter(|name| {
            name.starts_with("LISTEN_") || matches!(name.as_str(), "NOTIFY_SOCKET" | "")
        }) {
            let field = format!("service.environment.{reserved}");
            self.push(field, "the launcher sets it", "take it out");
        }
        self.command("service.self_test", &service.self_test);
    }

    fn health(&mut self, manifest: &Manifest) {
        let health = &manifest.health;
        self.positive("health.every", health.every);
        for (field, count) in [("successes", health.successes), ("failures", health.failures)] {
            if count == 0 {
                self.push(format!("health.{field}"), "it counts from 1", "say 1 or more");
            }
        }
        if manifest.trial.boots == 0 {
            self.push("trial.boots", "the release could never start", "say 1 or more");
        }
        let least = health.stable_for.0.max(health.every.0.saturating_mul(health.successes.into()));
        if manifest.trial.window.0 <= least {
            self.push(
                "trial.window",
                format!("{} is over before health can be proved", manifest.trial.window),
                format!("say more than {}", Millis(least)),
            );
        }
        for (at, check) in health.checks.iter().enumerate() {
            let field = format!("health.checks[{at}]");
            match &check.kind {
                CheckKind::Http { url, timeout, .. } => {
                    if !url.starts_with("http://") {
                        let out = "use http:// on loopback, or an exec check";
                        self.push(field.clone(), format!("{url} is not http://"), out);
                    }
                    self.positive(&field, *timeout);
                }
                CheckKind::Reach { url, timeout } => {
                    if !(url.starts_with("http://") || url.starts_with("https://")) {
                        let what = format!("{url} is neither http:// nor https://");
                        self.push(field.clone(), what, "correct it");
                    }
                    self.positive(&field, *timeout);
                }
                CheckKind::Tcp { address, timeout } => {
                    if !address.contains(':') {
                        let what = format!("{address} has no port");
                        self.push(field.clone(), what, "write HOST:PORT");
                    }
                    self.positive(&field, *timeout);
                }
                CheckKind::Exec { command, timeout } => {
                    if command.is_empty() {
                        self.push(field.clone(), "there is no command", "name one");
                    }
                    self.command(&field, command);
                    self.positive(&field, *timeout);
                }
            }
        }
    }

    fn files(&mut self, manifest: &Manifest) {
        let mut paths = BTreeSet::new();
        for (at, file) in manifest.configuration.iter().enumerate() {
            self.inside(&format!("configuration[{at}].path"), &file.path);
            self.inside(&format!("configuration[{at}].source"), &file.source);
            if !paths.insert(file.path.as_str()) {
                let what = format!("two files go to {}", file.path);
                self.push(format!("configuration[{at}].path"), what, "keep one");
            }
        }
        for (at, file) in manifest.outside.iter().enumerate() {
            self.inside(&format!("outside[{at}].source"), &file.source);
            let field = |part: &str| format!("outside[{at}].{part}");
            let rooted = file.path.starts_with('/') || file.path.starts_with("${");
            if !rooted || file.path.split('/').any(|part| part == "..") {
                let what = format!("{:?} is not an absolute path without `..`", file.path);
                self.push(field("path"), what, "write one, or begin with ${root}");
            }
            let mode = u32::from_str_radix(&file.mode, 8).ok();
            if mode.is_none_or(|mode| mode & !0o755 != 0) || file.mode.len() != 4 {
                let what = format!("{:?} is not a mode of at most 0755", file.mode);
                self.push(field("mode"), what, "write four octal digits, no set-uid, as \"0644\"");
            }
        }
    }

    fn placeholders(&mut self, manifest: &Manifest) {
        let mut used = BTreeSet::new();
        for (field, text) in texts(manifest) {
            for name in names_in(&text) {
                match name.strip_prefix("param.") {
                    Some(parameter) => {
                        used.insert(parameter.to_owned());
                        if !manifest.parameters.contains_key(parameter) {
                            let what = format!("${{{name}}} is not declared");
                            let out = format!("declare `parameters: {{ {parameter}: {{}} }}`");
                            self.push(field.clone(), what, out);
                        }
                    }
                    None if !PLACEHOLDERS.contains(&name.as_str()) => {
                        let what = format!("${{{name}}} is not a placeholder");
                        let out = format!(
                            "use {}, or ${{param.NAME}}",
                            PLACEHOLDERS.map(|name| format!("${{{name}}}")).join(", ")
                        );
                        self.push(field.clone(), what, out);
                    }
                    None if name == "state" && manifest.state.is_none() => {
                        let what = "${state} without `state` leads nowhere";
                        self.push(field.clone(), what, "describe `state`, or take it out");
                    }
                    None => {}
                }
            }
        }
        let fills_files = manifest.configuration.iter().any(|file| file.fill);
        for (name, parameter) in &manifest.parameters {
            // A file that is filled in may use it; its content is not at hand here.
            if !used.contains(name) && !fills_files && !manifest_fills_outside(manifest) {
                let what = "nothing uses it";
                let out = if parameter.default.is_none() {
                    "take it out; without a default every host must supply it"
                } else {
                    "take it out"
                };
                self.push(format!("parameters.{name}"), what, out);
            }
        }
    }

    fn positive(&mut self, field: &str, length: Millis) {
        if length.0 == 0 {
            self.push(field, "0s is no length of time", "say more");
        }
    }

    /// A command's first word is a path inside the package.
    fn command(&mut self, field: &str, command: &[String]) {
        if let Some(program) = command.first() {
            self.inside(field, Utf8Path::new(program));
        }
    }

    fn inside(&mut self, field: &str, path: &Utf8Path) {
        let climbs = path.components().any(|part| part.as_str() == "..");
        let what = if path.as_str().is_empty() {
            "it is empty".to_owned()
        } else if path.is_absolute() {
            format!("{path} is absolute")
        } else if climbs {
            format!("{path} climbs out with `..`")
        } else {
            return;
        };
        self.push(field, what, "write a path inside the package, such as bin/server");
    }
}

fn manifest_fills_outside(manifest: &Manifest) -> bool {
    !manifest.outside.is_empty()
}

/// Every text in which placeholders are filled in, with its field.
fn texts(manifest: &Manifest) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let service = &manifest.service;
    let mut list = |field: &str, words: &[String]| {
        all.extend(words.iter().map(|word| (field.to_owned(), word.clone())));
    };
    list("service.arguments", &service.arguments);
    list("service.self_test", &service.self_test);
    for (at, migration) in manifest.state.iter().flat_map(|s| &s.migrations).enumerate() {
        list(&format!("state.migrations[{at}].up"), &migration.up);
        list(&format!("state.migrations[{at}].down"), &migration.down);
    }
    for (at, check) in manifest.health.checks.iter().enumerate() {
        let field = format!("health.checks[{at}]");
        match &check.kind {
            CheckKind::Http { url, .. } | CheckKind::Reach { url, .. } => {
                list(&field, std::slice::from_ref(url));
            }
            CheckKind::Tcp { address, .. } => list(&field, std::slice::from_ref(address)),
            CheckKind::Exec { command, .. } => list(&field, command),
        }
    }
    for (name, value) in &service.environment {
        list(&format!("service.environment.{name}"), std::slice::from_ref(value));
    }
    for (at, socket) in service.sockets.iter().enumerate() {
        list(&format!("service.sockets[{at}].listen"), std::slice::from_ref(&socket.listen));
    }
    for (at, file) in manifest.outside.iter().enumerate() {
        list(&format!("outside[{at}].path"), std::slice::from_ref(&file.path));
        list(&format!("outside[{at}].then"), &file.then);
    }
    all
}

/// The names in `${…}`; one that is not closed counts as a name too, and is unknown then.
fn names_in(text: &str) -> Vec<String> {
    text.split("${")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap_or_default().to_owned())
        .collect()
}
