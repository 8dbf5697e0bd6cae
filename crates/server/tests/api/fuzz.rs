//! The API, fuzzed from its own OpenAPI document by schemathesis. `cargo xtask api-fuzz` installs
//! that and says in `HANDOVER_SCHEMATHESIS` where it is; without it there is nothing to run.

use std::process::Command;

use crate::client::authorities;
use crate::repository::Repository;
use crate::site::{Site, component};

/// Every answer has to be one that the document promises, and none may be a failure of ours.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

/// The stream never ends by itself, so a request for it never does.
const NEVER_ENDS: &str = "/api/v1/events";

#[tokio::test]
async fn no_request_that_the_document_allows_or_forbids_gets_an_answer_that_it_does_not_promise() {
    let Some(program) = std::env::var_os("HANDOVER_SCHEMATHESIS") else { return };
    let examples = std::env::var("HANDOVER_FUZZ_EXAMPLES").unwrap_or_else(|_| "40".to_owned());
    let seed = std::env::var("HANDOVER_FUZZ_SEED").unwrap_or_else(|_| "1".to_owned());
    eprintln!("seed {seed}, {examples} examples for each operation");
    for site in Site::on_each().await {
        let mut repository = Repository::new(1, site.now());
        repository.offer("web", "1.0.0", 1, |_| {});
        repository.offer("web", "1.1.0", 2, |_| {});
        repository.publish(&site).await;
        site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
        let url = format!("https://localhost:{}", site.running.address.port());
        let trusted = site.data.join("trusted.pem");
        let pems =
            authorities(&site.data).into_iter().map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::write(&trusted, pems.collect::<String>()).unwrap();
        let mut command = Command::new(&program);
        command
            .args(["run", &format!("{url}/api/v1/openapi.json"), "--url", &url])
            .args(["--tls-verify", trusted.as_str()])
            .args(["--checks", CHECKS, "--exclude-path", NEVER_ENDS])
            .args(["--max-examples", &examples, "--seed", &seed])
            .args(["--phases", "examples,coverage,fuzzing", "--mode", "all"])
            .args([
                "--header",
                &format!("Authorization: Bearer {}", site.admin.token.as_ref().unwrap()),
            ])
            .args(["--generation-database", "none", "--no-color"])
            .env("NO_PROXY", "localhost,127.0.0.1")
            .current_dir(&site.data);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        println!("{said}");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(site.admin.get("/readyz").await.good()["ok"], true, "it still answers");
        site.stop().await;
    }
}
