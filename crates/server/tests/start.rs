//! Starting on an empty directory, stopping, and every reason not to start.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use handover_server::{Config, Server, StartError};

fn config(data: &Utf8Path) -> Config {
    Config::new(data.to_owned(), SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = Utf8PathBuf::from_path_buf(dir.path().join("data")).unwrap();
    (dir, data)
}

#[tokio::test]
async fn a_server_starts_on_an_empty_directory_that_nobody_else_can_read() {
    let (_dir, data) = temp();
    let running = Server::start(config(&data)).await.unwrap();
    assert_ne!(running.address.port(), 0);
    let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("keys")), 0o700);
    for entry in data.join("keys").read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.extension() == Some("key") {
            assert_eq!(mode(&path), 0o600, "{path}");
        }
    }
    running.stop().await;
    Server::start(config(&data)).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (_dir, data) = temp();
    let running = Server::start(config(&data)).await.unwrap();
    let (_other, elsewhere) = temp();
    let refused = Server::start(Config { listen: running.address, ..config(&elsewhere) }).await;
    let error = refused.expect_err("two can't listen on one port");
    assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
    assert_eq!(error.exit_code(), 7);
    running.stop().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let (_dir, data) = temp();
    let running = Server::start(config(&data)).await.unwrap();
    let error = Server::start(config(&data)).await.expect_err("the database is taken");
    assert_eq!(error.exit_code(), 7, "{error}");
    running.stop().await;
}
