//! What `doctor` finds and mends, on the real executable.

use camino::Utf8PathBuf;
use handover_hoststeps::disk;

use crate::site::Site;

fn codes(findings: &serde_json::Value) -> Vec<(String, bool)> {
    let all = findings.as_array().unwrap().iter();
    all.map(|finding| {
        (finding["code"].as_str().unwrap().to_owned(), finding["mended"].as_bool().unwrap())
    })
    .collect()
}

/// Breaks a healthy host by `harm`; doctor must find exactly `code`, then mend it.
fn is_mended(code: &str, harm: impl FnOnce(&Site)) -> Site {
    let site = healthy();
    harm(&site);
    assert_eq!(codes(&site.json(&["doctor"])), [(code.to_owned(), false)], "{code}");
    assert_eq!(site.run(&["doctor"]).0, 6);
    assert_eq!(codes(&site.json(&["doctor", "--mend"])), [(code.to_owned(), true)], "{code}");
    assert_eq!(site.run(&["doctor"]).0, 0, "{code}");
    site
}

/// A host that accepted metadata and that nothing is wrong with.
fn healthy() -> Site {
    let mut site = Site::new();
    site.init();
    site.publish("1.0.0", 1, "#!/bin/sh\nexit 3\n");
    assert_eq!(site.run(&["check"]).0, 0);
    assert_eq!(site.json(&["doctor"]), serde_json::json!([]));
    site
}

fn own_release(site: &Site) -> Utf8PathBuf {
    let releases = site.root().join("components/handover-agent/releases");
    releases.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path()
}

fn truncate(path: &Utf8PathBuf) {
    assert!(path.exists(), "{path}");
    std::fs::File::create(path).unwrap();
}

#[test]
fn a_missing_launcher_is_put_back() {
    let site = is_mended("launcher", |site| {
        std::fs::remove_file(site.root().join("bin/handover-launch")).unwrap();
    });
    assert!(site.root().join("bin/handover-launch").exists());
}

#[test]
fn a_foreign_file_in_a_release_is_set_aside_and_kept() {
    let site = is_mended("foreign-file", |site| {
        disk::write(&own_release(site).join("bin/evil"), b"x", 0o755).unwrap();
    });
    assert_eq!(site.root().join("evidence").read_dir_utf8().unwrap().count(), 1);
}

#[test]
fn a_modified_executable_is_found_and_not_called_mended() {
    let site = healthy();
    disk::write(&own_release(&site).join("bin/handover-agent"), b"x", 0o755).unwrap();
    assert_eq!(codes(&site.json(&["doctor", "--mend"])), [("executable".to_owned(), false)]);
}

#[test]
fn a_trust_directory_that_others_may_enter_is_closed() {
    is_mended("mode", |site| {
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(site.root().join("trust"), open).unwrap();
    });
}

#[test]
fn damaged_version_floors_are_derived_again_and_still_refuse_a_rollback() {
    let mut site = healthy();
    let old = site.served();
    site.publish("1.1.0", 2, "#!/bin/sh\nexit 3\n");
    assert_eq!(site.run(&["check"]).0, 0);
    truncate(&site.root().join("trust/versions.json"));
    assert_eq!(site.json(&["check"])["error"], "trust.damaged-floors");
    assert_eq!(codes(&site.json(&["doctor", "--mend"])), [("versions".to_owned(), true)]);
    assert_eq!(site.run(&["check"]).0, 0);
    site.tamper(|files| *files = old);
    assert_eq!(site.json(&["check"])["error"], "trust.rollback");
}

#[test]
fn a_kept_file_whose_signatures_do_not_hold_proves_no_floor() {
    let site = healthy();
    let kept = site.root().join("trust/metadata/timestamp.json");
    let text = std::fs::read_to_string(&kept).unwrap();
    let (from, to) = ("\"version\":", "\"version\":1");
    assert!(text.contains(from), "{text}");
    // A number that nobody signed, ten or more times as high: believed, it would end all updates.
    let at = text.rfind(from).unwrap();
    let forged = format!("{}{to}{}", &text[..at], text[at + from.len()..].trim_start());
    disk::write(&kept, forged.as_bytes(), 0o600).unwrap();
    truncate(&site.root().join("trust/versions.json"));
    let findings = site.json(&["doctor", "--mend"]);
    assert_eq!(codes(&findings), [("versions".to_owned(), false)]);
    assert!(findings[0]["way_out"].as_str().unwrap().contains("timestamp.json"), "{findings}");
}

#[test]
fn damaged_floors_are_derived_from_what_was_committed() {
    is_mended("floors", |site| truncate(&site.root().join("trust/floors.json")));
}

#[test]
fn a_damaged_ledger_is_never_reset() {
    let site = healthy();
    truncate(&site.root().join("trust/ledger.json"));
    assert_eq!(codes(&site.json(&["doctor", "--mend"])), [("ledger".to_owned(), false)]);
    let (code, _, said) = site.run(&["check"]);
    assert_eq!(code, 6, "{said}");
}

#[test]
fn a_damaged_slots_file_stops_its_readers_and_goes_back_only_when_asked() {
    let site = healthy();
    let slots = site.root().join("components/handover-agent/slots");
    // A second generation, then damage to it.
    let store = disk::SlotsStore::new(slots.clone());
    let mut next = store.load().unwrap();
    next.generation = 2;
    store.publish(&next).unwrap();
    truncate(&slots.join("2.json"));
    let (code, out, _) = site.run(&["status"]);
    assert_eq!(code, 6, "{out}");
    assert_eq!(codes(&site.json(&["doctor"])), [("slots".to_owned(), false)]);
    assert!(store.load().is_err(), "doctor alone changes nothing");
    assert_eq!(codes(&site.json(&["doctor", "--mend"])), [("slots".to_owned(), true)]);
    let mended = store.load().unwrap();
    assert_eq!((mended.generation, &mended.current), (3, &next.current));
    assert_eq!(site.root().join("evidence").read_dir_utf8().unwrap().count(), 1);
}

#[test]
fn a_policy_that_does_not_parse_is_named_with_its_line() {
    let site = healthy();
    disk::write(&site.root().join("policy.yaml"), b"agent: host-1\npoll: often\n", 0o644).unwrap();
    let findings = site.json(&["doctor"]);
    assert!(findings[0]["what"].as_str().unwrap().contains("policy.yaml:2:"), "{findings}");
}
