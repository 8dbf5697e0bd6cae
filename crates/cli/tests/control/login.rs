//! Who one is, and where.

use std::os::unix::fs::PermissionsExt as _;

use super::desk::Desk;
use super::server::Server;
use super::site::Site;

#[test]
fn a_first_token_logs_in_and_its_secret_is_kept_for_its_owner_alone() {
    let site = Site::new();
    let me = site.desk.json(&["whoami"]);
    assert_eq!(me["context"], "site");
    assert!(me["token"]["permissions"].as_array().unwrap().iter().any(|one| one == "admin"));
    let file = site.desk.home().join("config/handover/contexts.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let secret = kept["contexts"]["site"]["secret"].as_str().unwrap();
    for words in [["whoami", "--output=json"], ["context", "list"], ["whoami", "--output=yaml"]] {
        let ended = site.desk.run(&words);
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "{words:?}");
    }
}

#[test]
fn contexts_are_chosen_by_option_by_variable_and_for_good() {
    let site = Site::new();
    let desk = &site.desk;
    desk.well(&["login", &site.server.token, "--context", "second"]);
    assert_eq!(desk.json(&["whoami"])["context"], "second");
    assert_eq!(desk.json(&["whoami", "--context", "site"])["context"], "site");
    let mut command = desk.command(&["--output", "json", "whoami"]);
    let by_variable = command.env("HANDOVER_CONTEXT", "site").output().unwrap();
    assert!(String::from_utf8_lossy(&by_variable.stdout).contains("\"context\": \"site\""));
    desk.well(&["context", "use", "site"]);
    assert_eq!(desk.json(&["whoami"])["context"], "site");
    let told = desk.refused(5, &["whoami", "--context", "third"]);
    assert!(told.contains("second") && told.contains("site"), "{told}");
    desk.well(&["logout"]);
    let told = desk.refused(5, &["whoami"]);
    assert!(told.contains("handover login"), "{told}");
    assert_eq!(desk.json(&["whoami", "--context", "second"])["context"], "second");
}

#[test]
fn a_token_is_read_from_a_file_or_the_environment_and_a_wrong_one_is_named() {
    let site = Site::new();
    let desk = Desk::new();
    let file = desk.home().join("token");
    #[expect(clippy::disallowed_methods, reason = "what a person would save")]
    std::fs::write(&file, format!("{}\n", site.server.token)).unwrap();
    desk.well(&["login", "--token-file", "token"]);
    let mut command = desk.command(&["login"]);
    let by_variable = command.env("HANDOVER_LOGIN_TOKEN", &site.server.token).output().unwrap();
    assert!(by_variable.status.success());

    assert!(desk.refused(2, &["login"]).contains("HANDOVER_LOGIN_TOKEN"));
    assert!(desk.refused(3, &["login", "hoe1_abc"]).contains("hol1_"));
    let cut = &site.server.token[..site.server.token.len() - 7];
    assert!(desk.refused(3, &["login", cut]).contains("copy it again"));
}

#[test]
fn a_server_that_the_token_does_not_name_gets_no_secret() {
    let (one, other) = (Site::new(), Site::new());
    // The first token's pins, at the other server's address: somebody sits in between.
    let token = handover_model::wire::LoginToken::parse(&one.server.token).unwrap();
    let elsewhere = handover_model::wire::LoginToken {
        urls: vec![format!("https://127.0.0.1:{}", other.server.port)],
        ..token
    };
    let told = one.desk.refused(3, &["login", &elsewhere.reveal()]);
    assert!(told.contains("is not the server that the token names"), "{told}");
    let plain = handover_model::wire::LoginToken {
        urls: vec![format!("http://127.0.0.1:{}", other.server.port)],
        ..elsewhere
    };
    assert!(one.desk.refused(3, &["login", &plain.reveal()]).contains("https://"));
}

#[test]
fn a_server_that_is_away_is_told_from_one_that_refuses() {
    let mut site = Site::new();
    site.server.kill();
    let ended = site.desk.run(&["--output", "json", "whoami"]);
    assert_eq!(ended.code, 1, "{}{}", ended.out, ended.err);
    let told: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (told["error"].as_str(), told["exit"].as_u64()),
        (Some("fetch.unreachable"), Some(1))
    );
    site.server.start_again();
    site.desk.well(&["whoami"]);
}

#[test]
fn a_server_prints_its_first_token_once() {
    let desk = Desk::new();
    let mut server = Server::start(&desk.home().join("server"));
    server.kill();
    server.start_again();
    desk.well(&["login", &server.token]);
}
