//! The API, fuzzed from its own `OpenAPI` document by schemathesis (PyPI), on both databases: every
//! answer has to be one that the document promises, and none may be a failure of ours.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::client::authorities;
use crate::repository::Repository;
use crate::site::{Site, component};

/// The program, pinned.
const PACKAGE: &str = "schemathesis==4.32.5";

/// What every answer is checked for.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

/// The stream never ends by itself, so a request for it never does.
const NEVER_ENDS: &str = "/api/v1/events";

/// Schemathesis; why there is none, otherwise.
fn program() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis-4.32.5");
    let program = home.join("bin/schemathesis");
    if home.join("whole").exists() {
        return Ok(program);
    }
    let run = |command: &mut Command| -> Result<(), String> {
        let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    run(Command::new(home.join("bin/python")).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
    std::fs::File::create(home.join("whole")).map_err(|error| error.to_string())?;
    Ok(program)
}

/// A server with a repository and an agent, and the parts of paths that are there.
async fn furnish(site: &Site) -> String {
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.publish(site).await;
    site.agent_with("web-1", vec![component("web", "1.0.0", 1)]).await;
    let order = site.admin.post("/api/v1/agents/web-1/update", &json!({})).await.good();
    let order = order["id"].as_str().unwrap();
    let parts = [("agent", "web-1"), ("component", "web"), ("order", order)];
    let lines = parts.map(|(name, value)| format!("\"path.{name}\" = \"{value}\"\n"));
    format!("[parameters]\n{}", lines.concat())
}

/// Fuzzes a server; `known` makes it ask for things that are there.
async fn fuzz(site: &Site, program: &Path, known: Option<&str>) {
    let number = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let (seed, examples) =
        (number("HANDOVER_FUZZ_SEED", "1"), number("HANDOVER_FUZZ_EXAMPLES", "8"));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let put = |name: &str, text: &str| {
        std::fs::File::create(path(name)).and_then(|mut file| file.write_all(text.as_bytes()))
    };
    put("schemathesis.toml", known.unwrap_or_default()).unwrap();
    let pems = authorities(&site.data).into_iter().map(|pem| std::fs::read_to_string(pem).unwrap());
    put("trusted.pem", &pems.collect::<String>()).unwrap();
    let url = format!("https://localhost:{}", site.running.address.port());
    let token = site.admin.token.as_ref().unwrap();
    let mut command = Command::new(program);
    command
        .args(["run", &format!("{url}/api/v1/openapi.json"), "--url", &url])
        .args(["--tls-verify", path("trusted.pem").to_str().unwrap()])
        .args(["--checks", CHECKS, "--exclude-path", NEVER_ENDS])
        .args(["--max-examples", &examples, "--seed", &seed])
        .args(["--phases", "examples,coverage,fuzzing", "--mode", "all"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--generation-database", "none", "--no-color"])
        .env("NO_PROXY", "localhost")
        .current_dir(directory.path());
    if known.is_some() {
        // A retired agent would end everything else.
        command.args(["--exclude-path-regex", "retire$"]);
    }
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    let again = format!("HANDOVER_FUZZ_SEED={seed} HANDOVER_FUZZ_EXAMPLES={examples}");
    assert!(ended.status.success(), "{again}\n{said}\n{complained}");
    assert_eq!(site.admin.get("/readyz").await.good()["ok"], true, "it still answers");
}

#[tokio::test]
async fn no_request_gets_an_answer_that_the_document_does_not_promise() {
    let program = match program() {
        Ok(program) => program,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "schemathesis can't be installed: {why}");
            // Past the test runner's capture, so that it is seen.
            let said = writeln!(std::io::stderr(), "\nNOT RUN, it needs python3 with venv: {why}");
            said.unwrap();
            return;
        }
    };
    for site in Site::on_each().await {
        let known = furnish(&site).await;
        if site.is_small() {
            fuzz(&site, &program, None).await;
        }
        fuzz(&site, &program, Some(&known)).await;
        site.stop().await;
    }
}
