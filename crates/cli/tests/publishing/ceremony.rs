//! The key ceremony, step by step, and everything that must be refused on the way.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::desk::Desk;

#[test]
fn nothing_is_published_before_every_threshold_is_met() {
    let desk = Desk::with_repository(&[]);
    let package = desk.build("1.0.0", 1, "out");
    desk.run(&["release", "stage", "--repo", "repo", &package]);
    let before = desk.tree("repo/public");
    let said = desk.refused(3, &["release", "publish", "repo"]);
    assert!(said.contains("0 of 2 release signatures"), "{said}");
    desk.sign(&["carol", "alice"], &["component-web"]);
    let said = desk.refused(3, &["release", "publish", "repo"]);
    assert!(said.contains("1 of 2") && said.contains("dave") && !said.contains("carol"), "{said}");
    desk.sign(&["carol"], &["component-web"]);
    desk.refused(3, &["release", "publish", "repo"]);
    assert_eq!(desk.tree("repo/public"), before, "something moved");
    desk.sign(&["dave"], &["component-web"]);
    desk.run(&["release", "publish", "repo"]);
    assert!(desk.run(&["release", "list", "repo"]).contains("1.0.0"));
}

#[test]
fn a_document_changed_after_signing_is_not_published() {
    let desk = Desk::with_repository(&[]);
    let first = desk.build("1.0.0", 1, "out");
    desk.run(&["release", "stage", "--repo", "repo", &first]);
    desk.sign(&["carol", "dave"], &["component-web"]);
    let second = desk.build("1.1.0", 2, "out");
    desk.run(&["release", "stage", "--repo", "repo", &second]);
    let said = desk.refused(3, &["release", "publish", "repo"]);
    assert!(said.contains("0 of 2"), "{said}");
}

#[test]
fn a_package_changed_after_signing_is_not_published() {
    let desk = Desk::with_repository(&[]);
    let package = desk.build("1.0.0", 1, "out");
    desk.run(&["release", "stage", "--repo", "repo", &package]);
    desk.sign(&["carol", "dave"], &["component-web"]);
    desk.write("repo/staging/targets/web/1.0.0/any.tar.zst", "other", false);
    let before = desk.tree("repo/public/metadata");
    let said = desk.refused(3, &["release", "publish", "repo"]);
    assert!(said.contains("changed since it was signed"), "{said}");
    assert_eq!(desk.tree("repo/public/metadata"), before);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let desk = Desk::new(&[]);
    let one = std::fs::read(desk.path(&desk.build("1.0.0", 1, "one"))).unwrap();
    std::fs::remove_dir_all(desk.path("payload")).unwrap();
    let two = std::fs::read(desk.path(&desk.build("1.0.0", 1, "two"))).unwrap();
    assert_eq!(one, two);
    desk.write("payload/more", "x", false);
    let three = std::fs::read(desk.path(&desk.build("1.0.0", 1, "three"))).unwrap();
    assert_ne!(one, three);
}

#[test]
fn a_payload_that_could_leave_its_package_is_refused() {
    let desk = Desk::new(&[]);
    desk.build("1.0.0", 1, "out");
    let build = |desk: &Desk| {
        desk.refused(
            3,
            &[
                "release",
                "build",
                "--platform",
                "any",
                "--payload",
                "payload",
                "--entrypoint",
                "upgrade",
                "--out",
                "bad",
            ],
        )
    };
    std::os::unix::fs::symlink("../../etc", desk.path("payload/etc")).unwrap();
    assert!(build(&desk).contains("out of the package"));
    std::fs::remove_file(desk.path("payload/etc")).unwrap();
    desk.write("payload/handover/release.json", "{}", false);
    assert!(build(&desk).contains("kept for Handover's own files"));
    std::fs::remove_dir_all(desk.path("payload/handover")).unwrap();
    desk.write("payload/BIN/web", "x", false);
    assert!(build(&desk).contains("case alone"));
    std::fs::remove_dir_all(desk.path("payload/BIN")).unwrap();
    std::fs::set_permissions(desk.path("payload/bin/web"), std::fs::Permissions::from_mode(0o4755))
        .unwrap();
    assert!(build(&desk).contains("set-uid"));
    std::fs::copy(env!("CARGO_BIN_EXE_handover"), desk.path("payload/bin/web")).unwrap();
    assert!(build(&desk).contains("the package is for any"));
    std::fs::remove_file(desk.path("payload/bin/web")).unwrap();
    assert!(build(&desk).contains("bin/web is not in payload"));
    assert!(!desk.path("bad").join("web-1.0.0-any.tar.zst").exists());
}

#[test]
fn sequence_numbers_and_versions_are_taken_once() {
    let desk = Desk::with_repository(&[]);
    desk.release("1.0.0", 1, &["carol", "dave"]);
    let late = desk.build("1.1.0", 1, "out");
    let said = desk.refused(3, &["release", "check", "--repo", "repo"]);
    assert!(said.contains("sequence") && said.contains("say 2"), "{said}");
    let said = desk.refused(3, &["release", "stage", "--repo", "repo", &late]);
    assert!(said.contains("the next is 2"), "{said}");
    desk.write("payload/more", "x", false);
    let again = desk.build("1.0.0", 1, "out");
    let said = desk.refused(3, &["release", "stage", "--repo", "repo", &again]);
    assert!(said.contains("already published with other content"), "{said}");
}

#[test]
fn key_files_are_private_and_encrypted_as_openssl_knows_it() {
    let desk = Desk::new(&[]);
    desk.write("phrase", "correct horse\n", false);
    desk.run(&["repo", "new-key", "eve.pem", "--passphrase-file", "phrase"]);
    let mode = std::fs::metadata(desk.path("eve.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(desk.path("eve.pem")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
    desk.run(&[
        "release",
        "permit",
        "--component",
        "web",
        "--to",
        "1.0.0",
        "--agent",
        "host-1",
        "--reason",
        "it loses data",
    ]);
    let sign = ["release", "sign", "--key", "eve.pem", "permit.json"];
    let said = desk.refused(1, &sign);
    assert!(said.contains("eve.pem is encrypted"), "{said}");
    desk.write("other", "wrong\n", false);
    let said = desk.refused(1, &[sign.as_slice(), &["--passphrase-file", "other"]].concat());
    assert!(said.contains("passphrase does not open"), "{said}");
    desk.run(&[sign.as_slice(), &["--passphrase-file", "phrase"]].concat());
    desk.refused(3, &["repo", "new-key", "eve.pem", "--no-passphrase"]);
    let Ok(openssl) = Command::new("openssl")
        .args(["pkey", "-in", "eve.pem", "-passin", "pass:correct horse", "-noout", "-text"])
        .current_dir(desk.path("."))
        .output()
    else {
        return; // no openssl on this machine to ask
    };
    let text = String::from_utf8_lossy(&openssl.stdout).into_owned();
    assert!(text.contains("ED25519 Private-Key"), "{text}{:?}", openssl.stderr);
}

#[test]
fn status_warns_before_anything_expires() {
    let desk = Desk::with_repository(&[]);
    assert!(desk.run(&["repo", "status", "repo"]).contains("fresh"));
    let said = desk.refused(1, &["repo", "status", "repo", "--within", "200h"]);
    assert!(said.contains("timestamp expires") && said.contains("repo refresh"), "{said}");
    let json = desk.try_run(&["repo", "status", "repo", "--output", "json"]).stdout;
    let status: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(status["well"], true);
    assert_eq!(status["roles"][1]["role"], "timestamp");
}

#[test]
fn a_permit_waits_for_its_signatures() {
    let desk = Desk::with_repository(&[]);
    desk.run(&[
        "release",
        "permit",
        "--component",
        "web",
        "--to",
        "1.0.0",
        "--agent",
        "host-1",
        "--reason",
        "it loses data",
    ]);
    desk.run(&["release", "sign", "--key", "keys/carol.pem", "permit.json"]);
    desk.run(&["release", "sign", "--key", "keys/dave.pem", "permit.json"]);
    let permit = std::fs::read(desk.path("permit.json")).unwrap();
    let permit: serde_json::Value = serde_json::from_slice(&permit).unwrap();
    assert_eq!(permit["signatures"].as_array().unwrap().len(), 2);
    desk.refused(
        3,
        &[
            "release",
            "permit",
            "--component",
            "web",
            "--to",
            "1.0.0",
            "--agent",
            "host-1",
            "--reason",
            "again",
        ],
    );
}

#[test]
fn mistakes_have_their_own_exit_codes() {
    let desk = Desk::with_repository(&[]);
    desk.refused(5, &["repo", "status", "nowhere"]);
    desk.refused(5, &["release", "check", "nowhere.yaml"]);
    desk.refused(5, &["release", "show", "web", "9.9.9", "--repo", "repo"]);
    desk.refused(2, &["release", "show", "web", "not-a-version", "--repo", "repo"]);
    desk.refused(3, &["repo", "init", "repo", "--root-key", "keys/alice.pub"]);
    let told = desk.try_run(&["--output", "json", "release", "list", "nowhere"]).stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!((&told["error"], &told["exit"]), (&"repo.none".into(), &5.into()));
    desk.write("repo/repository.json", "{", false);
    desk.refused(6, &["repo", "status", "repo"]);
}

#[test]
fn a_signed_openpgp_sidecar_is_published_with_its_package() {
    let desk = Desk::with_repository(&[]);
    let package = desk.build("1.0.0", 1, "out");
    desk.write(&format!("{package}.asc"), "-----BEGIN PGP SIGNATURE-----\n", false);
    desk.run(&["release", "stage", "--repo", "repo", &package]);
    desk.sign(&["carol", "dave"], &["component-web"]);
    desk.run(&["release", "publish", "repo"]);
    assert!(
        desk.run(&["release", "show", "web", "1.0.0", "--repo", "repo"])
            .contains("OpenPGP       signed")
    );
    let published = desk.tree("repo/public/targets");
    assert!(published.iter().any(|(path, _)| path.to_string_lossy().ends_with(".any.tar.zst.asc")));
}
