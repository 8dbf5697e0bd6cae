//! A throw-away PostgreSQL for tests: a cluster of its own in a temporary directory, reached
//! through a Unix socket in it (and, for tests of TLS, a port of the loopback), durable as in
//! life.
//!
//! It ends with the process that started it, however that ends: a shell beside it holds the
//! read end of a pipe, and when the pipe closes it stops the server and removes the directory.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

/// What is said where PostgreSQL is missing.
const MISSING: &str = "PostgreSQL is not installed here, so its half of this test can't run: \
    install it (Debian: `apt-get install postgresql`), or put its `bin` directory in \
    HANDOVER_PG_BIN";

/// `$1`: its programs, `$2`: the directory, the rest: options of the server.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
bin=$1 dir=$2
shift 2
finish() {
  "$bin/pg_ctl" -D "$dir/data" -m immediate stop >>"$dir/log" 2>&1 </dev/null
  rm -rf "$dir"
}
{
  "$bin/initdb" -D "$dir/data" -U handover -A trust -E UTF8 --locale=C --no-sync </dev/null &&
  { for line in "$@"; do echo "$line"; done >>"$dir/data/postgresql.conf"; } &&
  "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/server.log" start </dev/null
} >>"$dir/log" 2>&1 && echo ready || { echo failed; cat "$dir/log" "$dir/server.log"; }
exec >&- 
cat >/dev/null
finish
"#;

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    directory: Utf8PathBuf,
    bin: Utf8PathBuf,
    next: AtomicU32,
    // Closing it ends the cluster.
    pipe: Option<ChildStdin>,
    shell: Child,
}

impl Postgres {
    /// The cluster of this test process, started at the first call; `None` where PostgreSQL is
    /// not installed.
    ///
    /// # Panics
    /// When it is not installed and `CI` is `true`, or when it does not start.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[])).as_ref()
    }

    /// A cluster of its own with more lines in its configuration; `None` where PostgreSQL is not
    /// installed.
    ///
    /// # Panics
    /// As [`Postgres::shared`].
    pub fn start(configuration: &[&str]) -> Option<Self> {
        let Some(bin) = programs() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{MISSING}");
            say(MISSING);
            return None;
        };
        let directory = new_directory();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh", bin.as_str(), directory.as_str()]);
        command.arg("listen_addresses = ''");
        command.arg(format!("unix_socket_directories = '{directory}'"));
        command.args(["fsync = on", "max_connections = 200", "shared_buffers = 32MB"]);
        command.args(configuration);
        if let Some((user, group)) = unprivileged(&directory) {
            command.uid(user).gid(group);
        }
        command.current_dir(&directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("sh can be started");
        let answer = BufReader::new(shell.stdout.take().expect("its output is piped"));
        let said: Vec<String> = answer.lines().map_while(Result::ok).collect();
        assert_eq!(said.first().map(String::as_str), Some("ready"), "{}", said.join("\n"));
        let pipe = shell.stdin.take();
        Some(Self { directory, bin, next: AtomicU32::new(1), pipe, shell })
    }

    /// The URL of a new, empty database.
    ///
    /// # Panics
    /// When it can't be created.
    pub fn fresh_database(&self) -> String {
        let name = format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let done = Command::new(self.bin.join("createdb"))
            .args(["-h", self.directory.as_str(), "-U", "handover", &name])
            .output()
            .expect("createdb can be started");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        format!("postgres:///{name}?user=handover&host={}", self.directory)
    }

    /// Runs SQL as the database's owner and returns what it printed, one row a line and columns
    /// with `|` between.
    ///
    /// # Panics
    /// When a statement fails.
    pub fn psql(&self, url: &str, sql: &str) -> String {
        let done = Command::new(self.bin.join("psql"))
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
            .output()
            .expect("psql can be started");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// Where it lives: data, socket and logs.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.pipe = None;
        // It ends when the server has stopped.
        let _ = self.shell.wait();
    }
}

/// Where PostgreSQL's programs are: `HANDOVER_PG_BIN`, or Debian's newest, or the path.
fn programs() -> Option<Utf8PathBuf> {
    if let Ok(bin) = std::env::var("HANDOVER_PG_BIN") {
        return Some(bin.into());
    }
    let debian = Utf8Path::new("/usr/lib/postgresql");
    let versions = debian.read_dir_utf8().into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(u32, Utf8PathBuf)> = versions
        .filter_map(|entry| {
            let bin = entry.path().join("bin");
            Some((entry.file_name().parse().ok()?, bin))
                .filter(|(_, bin)| bin.join("initdb").exists())
        })
        .collect();
    found.sort();
    let on_path = || {
        let path = std::env::var("PATH").unwrap_or_default();
        path.split(':').map(Utf8PathBuf::from).find(|bin| bin.join("initdb").exists())
    };
    found.pop().map(|(_, bin)| bin).or_else(on_path)
}

/// A new directory with a short name, since the socket's path in it is bounded.
fn new_directory() -> Utf8PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("handover-pg-{}-{count}", std::process::id());
        let path = Utf8PathBuf::try_from(std::env::temp_dir().join(name)).expect("a UTF-8 path");
        match std::fs::create_dir(&path) {
            Ok(()) => return path,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{path}: {error}"),
        }
    }
}

/// PostgreSQL refuses to run as root: gives the directory to `postgres`, or to `nobody`, and says
/// who that is; `None` when this process is not root.
fn unprivileged(directory: &Utf8Path) -> Option<(u32, u32)> {
    let about = std::fs::metadata(directory).expect("the directory was just made");
    if about.uid() != 0 {
        return None;
    }
    let id = |flag: &str, user: &str| {
        let done = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8_lossy(&done.stdout).trim().parse::<u32>().ok()
    };
    let user = ["postgres", "nobody"].into_iter().find(|user| id("-u", user).is_some());
    let user = user.expect("a user `postgres` or `nobody`, since PostgreSQL refuses to be root");
    let ids = id("-u", user).zip(id("-g", user)).expect("a user has a group");
    chown(directory, Some(ids.0), Some(ids.1)).expect("root may give a directory away");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, everybody).expect("root may open a directory");
    Some(ids)
}

#[expect(clippy::print_stderr, reason = "a test's output is where people look for it")]
fn say(text: &str) {
    eprintln!("{text}");
}
