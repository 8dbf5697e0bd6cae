//! Starting on an empty directory, stopping, and every reason not to start.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use handover_model::{Now, Timestamp};
use handover_server::{Clock, Config, RealClock, Rotated, Rotation, Server, StartError, rotate};

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

/// The machine's clock, moved.
#[derive(Debug)]
struct Moved(RealClock, i64);

impl Clock for Moved {
    fn now(&self) -> Now {
        let now = self.0.now();
        let days = self.1 * 86_400 * 1_000_000;
        Now { wall: Timestamp::from_micros(now.wall.as_micros() + days), mono: now.mono }
    }
}

fn moved(days: i64) -> std::sync::Arc<dyn Clock> {
    std::sync::Arc::new(Moved(RealClock::start(), days))
}

#[tokio::test]
async fn keys_that_are_gone_beside_a_database_stop_the_server_and_are_not_made_again() {
    let (_dir, data) = temp();
    Server::start(config(&data)).await.unwrap().stop().await;
    std::fs::remove_dir_all(data.join("keys")).unwrap();
    let error = Server::start(config(&data)).await.expect_err("agents trust those keys");
    assert!(matches!(error, StartError::KeyMissing { .. }), "{error}");
    assert_eq!(error.exit_code(), 6);
    assert!(!data.join("keys").exists());
}

#[tokio::test]
async fn a_clock_before_the_keys_and_one_after_the_authoritys_end_are_told_apart() {
    let (_dir, data) = temp();
    Server::start(config(&data)).await.unwrap().stop().await;
    let early = Server::start_at(config(&data), moved(-30)).await.expect_err("too early");
    assert!(matches!(early, StartError::ClockBehind { .. }), "{early}");
    let late = Server::start_at(config(&data), moved(11 * 365)).await.expect_err("too late");
    assert!(matches!(late, StartError::CaExpired { .. }), "{late}");
    assert_eq!((early.exit_code(), late.exit_code()), (3, 3));
    assert!(late.to_string().contains("rotate-ca --now"), "{late}");
}

#[tokio::test]
async fn a_damaged_database_is_named_and_a_foreign_one_is_left_alone() {
    let (_dir, data) = temp();
    Server::start(config(&data)).await.unwrap().stop().await;
    let path = data.join("handover.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..100].fill(b'x');
    let mut file = std::fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
    let error = Server::start(config(&data)).await.expect_err("that is no database");
    assert_eq!(error.code(), "server.database", "{error}");
    assert!([3, 6].contains(&error.exit_code()), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was changed");
}

#[tokio::test]
async fn keys_are_rotated_here_and_now_when_no_server_runs() {
    let (_dir, data) = temp();
    Server::start(config(&data)).await.unwrap().stop().await;
    for what in [Rotation::OrderKey, Rotation::ChannelCa] {
        let config = config(&data);
        let done = tokio::task::spawn_blocking(move || rotate(&config, what, true));
        assert_eq!(done.await.unwrap().unwrap(), Rotated::Done);
    }
    let running = Server::start(config(&data)).await.unwrap();
    assert_eq!(running.state().ca_pems().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn keys_of_another_database_are_refused() {
    let ((_one, data), (_two, other)) = (temp(), temp());
    Server::start(config(&data)).await.unwrap().stop().await;
    Server::start(config(&other)).await.unwrap().stop().await;
    let mixed = Config { database: Some(other.join("handover.db").into()), ..config(&data) };
    let error = Server::start(mixed).await.expect_err("its agents trust other keys");
    assert!(matches!(error, StartError::KeysForeign { .. }), "{error}");
    assert_eq!(error.exit_code(), 6);
}

#[tokio::test]
async fn a_key_of_webhooks_that_is_lost_or_another_is_never_replaced_unasked() {
    let (_dir, data) = temp();
    Server::start(config(&data)).await.unwrap().stop().await;
    let path = data.join("keys/webhooks.key");
    let first = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lost = Server::start(config(&data)).await.expect_err("the key is gone");
    assert!(matches!(lost, StartError::WebhookKeyMissing { .. }), "{lost}");
    assert_eq!((lost.exit_code(), lost.code()), (6, "server.key-missing"));
    assert!(!path.exists(), "nothing is made in its place");

    let (_other, elsewhere) = temp();
    Server::start(config(&elsewhere)).await.unwrap().stop().await;
    std::fs::copy(elsewhere.join("keys/webhooks.key"), &path).unwrap();
    let foreign = Server::start(config(&data)).await.expect_err("it is another server's");
    assert!(matches!(foreign, StartError::KeysForeign { .. }), "{foreign}");

    // A person's word: an empty file.
    std::fs::File::create(&path).unwrap().set_len(0).unwrap();
    Server::start(config(&data)).await.unwrap().stop().await;
    let second = std::fs::read(&path).unwrap();
    assert!(second.len() == first.len() && second != first);
    Server::start(config(&data)).await.unwrap().stop().await;
}
