use super::*;

const GOOD: &str = "\
agent: host-1
repository:
  metadata: https://example.com/repo/metadata
  targets: https://example.com/repo/targets
poll: 30s
components:
  - name: web
    after: [db]
  - name: db
    mode: manual
    pin: '>=1.2, <2'
    windows: [{days: [sat, sun], start: '02:00', for: 2h, zone: Europe/Berlin}]
";

fn parse(text: &str) -> Result<HostPolicy, PolicyError> {
    parse_policy(Utf8Path::new("policy.yaml"), text.as_bytes())
}

fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let error = parse(&GOOD.replacen(from, to, 1)).expect_err(to);
    assert!(error.code() == "policy.malformed" || error.code() == "policy.contradiction");
    error.to_string()
}

#[test]
fn a_good_policy_parses_and_components_stand_behind_what_they_wait_for() {
    let policy = parse(GOOD).unwrap();
    let names: Vec<_> = in_order(&policy.components)
        .unwrap()
        .iter()
        .map(|component| component.name.to_string())
        .collect();
    assert_eq!(names, ["db", "web"]);
}

#[test]
fn a_bad_policy_is_refused_with_the_line_and_the_field() {
    let said = refusal("poll: 30s", "polll: 30s");
    assert!(said.starts_with("policy.yaml:5:") && said.contains("polll"), "{said}");
    let said = refusal("poll: 30s", "poll: soon");
    assert!(said.starts_with("policy.yaml:5:") && said.contains("soon"), "{said}");
    let said = refusal("agent: host-1", "agent: Host_1");
    assert!(said.starts_with("policy.yaml:1:") && said.contains("Host_1"), "{said}");
    let said = refusal("agent: host-1\n", "");
    assert!(said.contains("agent"), "{said}");
    let said = refusal("pin: '>=1.2, <2'", "pin: newest");
    assert!(said.starts_with("policy.yaml:11:") && said.contains("newest"), "{said}");
    let said = refusal("mode: manual", "mode: perhaps");
    assert!(said.contains("perhaps"), "{said}");
    let said = refusal("components:", "components: [");
    assert!(said.starts_with("policy.yaml:"), "{said}");
    let said = refusal("agent: host-1", "agent: host-1\nagent: host-2");
    assert!(said.contains("agent"), "{said}");
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_with_the_way_out() {
    for (from, to, word) in [
        ("https://example.com/repo/metadata", "ftp://example.com", "http://"),
        ("https://example.com/repo/targets", "''", "repository.targets"),
        ("poll: 30s", "poll: 1ms", "least"),
        ("poll: 30s", "bytes_per_second: 0", "leave it out"),
        ("poll: 30s", "patience: 0s", "1s"),
        ("poll: 30s", "openpgp: {keyring: keys.gpg}", "absolute"),
        ("name: db", "name: web", "twice"),
        ("after: [db]", "after: [cache]", "cache"),
        ("mode: manual", "after: [web]", "wait for each other"),
    ] {
        let said = refusal(from, to);
        assert!(said.contains(word), "{to}: {said}");
    }
}

#[test]
fn choices_are_laid_over_and_survive_a_round_trip() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("choices.json");
    let mut choices = Choices::load(&path).unwrap();
    choices.pins.insert("web".parse().unwrap(), "1.4.0".parse().unwrap());
    choices.added.push("kafka".parse().unwrap());
    choices.save(&path).unwrap();
    let mut policy = parse(GOOD).unwrap();
    Choices::load(&path).unwrap().lay_over(&mut policy);
    assert_eq!(policy.components[0].pin.as_ref().unwrap().to_string(), "1.4.0");
    assert_eq!(policy.components[2].name.as_str(), "kafka");
    assert_eq!(policy.components[2].mode, handover_model::Mode::Manual);
}

#[test]
fn damaged_choices_are_not_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("choices.json");
    handover_hoststeps::disk::write(&path, b"", 0o644).unwrap();
    assert_eq!(Choices::load(&path).unwrap_err().code(), "policy.choices-damaged");
}
