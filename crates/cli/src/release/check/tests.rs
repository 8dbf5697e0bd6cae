use camino::Utf8PathBuf;

use super::*;
use crate::release::template;

fn problems(text: &str) -> Vec<(String, Option<usize>)> {
    let directory = tempfile::tempdir().unwrap();
    let file = Utf8PathBuf::try_from(directory.path().join("release.yaml")).unwrap();
    handover_hoststeps::disk::write(&file, text.as_bytes(), 0o644).unwrap();
    match load_manifest(&file) {
        Ok(_) => Vec::new(),
        Err(ReleaseError::Problems { problems, .. }) => {
            assert!(problems.iter().all(|problem| !problem.way_out.is_empty()));
            problems.into_iter().map(|problem| (problem.field, problem.line)).collect()
        }
        Err(ReleaseError::Malformed { at, what, .. }) => {
            vec![(format!("malformed{at} {what}"), None)]
        }
        Err(other) => panic!("{other}"),
    }
}

fn text(more: &str) -> String {
    format!(
        "format: 1\ncomponent: web\nversion: 1.2.0\nsequence: 3\nupgrades_from: \"<1.2.0\"\n\
         service: {{ executable: bin/web }}\n{more}"
    )
}

#[test]
fn the_template_is_well_described() {
    let text = template::text(&"web".parse().unwrap(), &"1.0.0".parse().unwrap());
    assert_eq!(problems(&text), []);
}

#[test]
fn each_contradiction_names_its_field_and_line() {
    for (more, field, line) in [
        ("state: { schema: 3, migrations: [{ from: 1, up: [m] }] }", "state.migrations", 7),
        (
            "state: { schema: 2, migrations: [{ from: 1, up: [m] }] }\non_revert: migrate-down",
            "state.migrations[0].down",
            7,
        ),
        ("on_revert: migrate-down", "on_revert", 7),
        ("trial: { boots: 0 }", "trial.boots", 7),
        ("trial:\n  window: 1s", "trial.window", 8),
        ("return_within: 2000h", "return_within", 7),
        ("parameters:\n  port: {}", "parameters.port", 8),
        ("outside: [{ path: /etc/x, source: x, mode: \"4755\" }]", "outside[0].mode", 7),
        ("outside: [{ path: etc/x, source: x }]", "outside[0].path", 7),
        ("configuration: [{ path: ../x, source: x }]", "configuration[0].path", 7),
        ("configuration: [{ path: x, source: /etc/x }]", "configuration[0].source", 7),
        ("health: { successes: 0 }", "health.successes", 7),
        ("keep: 0", "keep", 7),
        ("launcher: 99", "launcher", 7),
        ("floor: true\nalso_from: [1.3.0]", "floor", 7),
        ("also_from: [1.2.0]", "also_from", 7),
    ] {
        let found = problems(&text(more));
        assert!(found.contains(&(field.to_owned(), Some(line))), "{more}: {found:?}");
    }
}

#[test]
fn the_agent_may_not_declare_state() {
    let agent = text("state: { schema: 1 }").replace("component: web", "component: handover-agent");
    assert_eq!(problems(&agent), [("state".to_owned(), Some(7))]);
}

#[test]
fn a_service_that_can_not_be_run_is_refused() {
    for (service, field) in [
        ("executable: /bin/web", "service.executable"),
        ("executable: ../web", "service.executable"),
        ("{ executable: w, arguments: [\"${param.port}\"] }", "service.arguments"),
        ("{ executable: w, arguments: [\"${nowhere}\"] }", "service.arguments"),
        ("{ executable: w, arguments: [\"${state}\"] }", "service.arguments"),
        ("{ executable: w, stop: { signal: KILL } }", "service.stop.signal"),
        ("{ executable: w, environment: { LISTEN_FDS: a } }", "service.environment.LISTEN_FDS"),
    ] {
        let service =
            if service.starts_with('{') { service.to_owned() } else { format!("{{ {service} }}") };
        let text = text("").replace("{ executable: bin/web }", &service);
        let found = problems(&text);
        assert!(found.iter().any(|(at, _)| at == field), "{service}: {found:?}");
    }
}

#[test]
fn what_does_not_parse_says_where() {
    for (from, to) in [
        ("version: 1.2.0", "version: one"),
        ("sequence: 3", "sequence: many"),
        ("component: web", "component: Web!"),
        ("format: 1", "format: 1\nsurprise: yes"),
        ("format: 1\n", ""),
    ] {
        let found = problems(&text("").replace(from, to));
        assert!(found.len() == 1 && found[0].0.starts_with("malformed"), "{to}: {found:?}");
    }
    let found = problems(&text("").replace("version: 1.2.0", "version: one"));
    assert!(found[0].0.starts_with("malformed:3:"), "{found:?}");
}
