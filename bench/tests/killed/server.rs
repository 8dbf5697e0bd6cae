//! The control plane as a process of its own: this test's own executable, started again with the
//! one test that serves.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use handover_hoststeps::disk;
use handover_server::{Config, LogFormat};
use handover_store::Database;

/// The test that serves when it is asked to.
const ENTRY: &str = "the_server_that_is_killed";
/// Where the data directory is, for [`serve_if_asked`].
const DATA: &str = "KILLED_SERVER_DATA";
/// Which database, for [`serve_if_asked`].
const DATABASE: &str = "KILLED_SERVER_DATABASE";
/// Where to listen, for [`serve_if_asked`].
const LISTEN: &str = "KILLED_SERVER_LISTEN";

/// Serves until it is killed, if this process was started for that.
pub(crate) fn serve_if_asked() {
    let (Ok(data), Ok(listen)) = (std::env::var(DATA), std::env::var(LISTEN)) else { return };
    handover_server::start_log(LogFormat::Text);
    let data = Utf8PathBuf::from(data);
    let mut config = Config::new(data.clone(), listen.parse().expect("an address"));
    config.database = std::env::var(DATABASE).ok();
    // The test asks as fast as it can, and all hosts come back at once after each kill.
    config.limits.requests_per_second = 1_000_000;
    config.limits.agent_requests_per_10s = 1_000_000;
    config.limits.enrolments_per_second = 100_000;
    let ran = handover_server::run(config, |running| {
        if let Some(login) = &running.first_login {
            disk::write(&login_path(&data), login.as_bytes(), 0o600).expect("the login is kept");
        }
    });
    ran.expect("the server starts");
}

fn login_path(data: &Utf8Path) -> Utf8PathBuf {
    data.join("first-login")
}

/// A server that can be killed and started again, on the same files and port.
pub(crate) struct Server {
    data: Utf8PathBuf,
    database: Option<String>,
    address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts the first one, on a free port; on SQLite unless a database is named.
    pub(crate) fn start(data: Utf8PathBuf, database: Option<String>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = free.local_addr().expect("it has a number");
        drop(free);
        fs::create_dir_all(data.parent().expect("a directory")).expect("it can be made");
        let child = spawn(&data, database.as_deref(), address);
        Self { data, database, address, child }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn database(&self) -> Database {
        match &self.database {
            Some(text) => text.parse().expect("a database"),
            None => Database::Sqlite(self.data.join("handover.db")),
        }
    }

    /// The login token that the first start made, once it is there.
    pub(crate) fn first_login(&self) -> Option<String> {
        fs::read_to_string(login_path(&self.data)).ok()
    }

    /// SIGKILL. A server that ended before, by itself, is a failure.
    pub(crate) fn kill(&mut self) {
        if let Some(ended) = self.child.try_wait().expect("it is ours") {
            panic!("the server ended by itself: {ended}\n{}", self.log());
        }
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.data, self.database.as_deref(), self.address);
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_path(&self.data)).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn log_path(data: &Utf8Path) -> Utf8PathBuf {
    data.with_extension("log")
}

fn spawn(data: &Utf8Path, database: Option<&str>, address: SocketAddr) -> Child {
    let log = File::options().create(true).append(true).open(log_path(data)).expect("a log");
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    if let Some(database) = database {
        command.env(DATABASE, database);
    }
    command
        .args([ENTRY, "--exact", "--nocapture"])
        .env(DATA, data)
        .env(LISTEN, address.to_string())
        .env("HANDOVER_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("this program starts once more")
}
