//! A repository and a host, made with the released executables alone.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use handover_model::Platform;

use crate::real_world::wait_until;

/// How a release behaves and how large it is.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Its version.
    pub(crate) version: String,
    /// Its place in the order of production.
    pub(crate) sequence: usize,
    /// More members of `behaviour.json`, each with a comma before it.
    pub(crate) behaviour: &'static str,
    /// How long its trial may last.
    pub(crate) window: &'static str,
    /// Bytes that don't compress, beside the program.
    pub(crate) padding: usize,
}

/// A repository, its file server, and one host with its launcher.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) port: u16,
    programs: PathBuf,
    directory: tempfile::TempDir,
    launcher: Option<Child>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(launcher) = &mut self.launcher {
            end(launcher);
        }
    }
}

/// Asks a child to end, and waits for it.
pub(crate) fn end(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may be gone already; either way it is waited for.
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _reaped = child.wait();
}

impl Site {
    /// Publishes releases and sets a host up, its launcher waiting for the first.
    pub(crate) fn open(programs: &Path, releases: &[Wanted]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("handover-bench-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let programs = programs.to_owned();
        let mut site = Self { port, programs, directory, launcher: None };
        site.make_repository()?;
        for release in releases {
            site.publish(release)?;
        }
        site.handover("release sign repo/staging/component-web.tosign.json --key key.pem")?;
        site.handover("release publish repo")?;
        let served = serve(site.path("repo/public"))?;
        let trusted =
            "--trusted-root repo/public/metadata/1.root.json --name bench --component web";
        let words = format!("--root host init --repository http://127.0.0.1:{served} {trusted}");
        site.run("handover-agent", &words)?;
        let policy = fs::read_to_string(site.path("host/policy.yaml"))?;
        let named = "  - name: web\n";
        let parameters =
            format!("{named}    mode: manual\n    parameters: {{ port: \"{port}\" }}\n");
        put(
            &site.path("host/policy.yaml"),
            policy.replacen(named, &parameters, 1).as_bytes(),
            0o644,
        )?;
        let launcher = Command::new(site.path("host/bin/handover-launch"))
            .args(["--root", "host", "web"])
            .current_dir(site.directory.path())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start the launcher")?;
        site.launcher = Some(launcher);
        Ok(site)
    }

    /// A path under the site's directory.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The launcher's process id.
    pub(crate) fn launcher(&self) -> u32 {
        self.launcher.as_ref().map_or(0, Child::id)
    }

    /// A program of the release build.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    fn make_repository(&self) -> anyhow::Result<()> {
        self.handover("repo new-key key.pem --no-passphrase")?;
        self.handover("repo init repo --root-key key.pub")?;
        self.handover("release sign repo/staging/root.tosign.json --key key.pem")?;
        self.handover("release sign repo/staging/targets.tosign.json --key key.pem")?;
        self.handover("release publish repo")?;
        self.handover("repo add-key repo --component web --key key.pub")?;
        self.handover("release sign repo/staging/targets.tosign.json --key key.pem")
    }

    fn publish(&self, release: &Wanted) -> anyhow::Result<()> {
        let version = &release.version;
        let manifest = include_str!("release.yaml")
            .replace("@VERSION@", version)
            .replace("@SEQUENCE@", &release.sequence.to_string())
            .replace("@WINDOW@", release.window);
        let behaviour = release.behaviour;
        let behaviour = format!("{{\"version\": \"{version}\", \"schema\": 1{behaviour}}}");
        let mut program = fs::read(self.program("handover-sample-web"))?;
        program.extend_from_slice(version.as_bytes());
        put(&self.path(&format!("{version}/release.yaml")), manifest.as_bytes(), 0o644)?;
        put(&self.path(&format!("{version}/payload/behaviour.json")), behaviour.as_bytes(), 0o644)?;
        put(&self.path(&format!("{version}/payload/bin/web")), &program, 0o755)?;
        if release.padding > 0 {
            let padding = noise(release.padding);
            put(&self.path(&format!("{version}/payload/padding")), &padding, 0o644)?;
        }
        let platform = Platform::of_this_build();
        self.handover(&format!(
            "release build {version}/release.yaml --platform {platform} --payload {version}/payload"
        ))?;
        self.handover(&format!("release stage --repo repo web-{version}-{platform}.tar.zst"))?;
        fs::remove_dir_all(self.path(version))?;
        Ok(())
    }

    fn handover(&self, words: &str) -> anyhow::Result<()> {
        self.run("handover", words)
    }

    fn run(&self, program: &str, words: &str) -> anyhow::Result<()> {
        let output = Command::new(self.program(program))
            .args(words.split(' '))
            .current_dir(self.directory.path())
            .output()
            .with_context(|| format!("could not run {program}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {words}: {}\n{said}", output.status);
        Ok(())
    }

    /// Starts an update, as a person would.
    pub(crate) fn begin_update(&self, version: &str) -> anyhow::Result<Child> {
        Command::new(self.program("handover-agent"))
            .args(["--root", "host", "update", "web", "--to", version])
            .env("RUST_LOG", "off")
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("could not start handover-agent")
    }

    /// Whether `version` answers.
    pub(crate) fn answers(&self, version: &str) -> bool {
        get(self.port, "/").is_ok_and(|body| body.contains(&format!("\"version\":\"{version}\"")))
    }

    /// Waits until `version` answers.
    pub(crate) fn wait_for(&self, version: &str) -> anyhow::Result<()> {
        let is_there = wait_until(Duration::from_mins(1), || self.answers(version));
        ensure!(is_there, "{version} did not answer within a minute");
        Ok(())
    }
}

/// The body of a GET; anything but 200 is an error.
pub(crate) fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        Some(_) | None => Err(io::Error::other("not answered with 200")),
    }
}

/// Writes a file and the directories above it.
pub(crate) fn put(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    Ok(file.set_permissions(fs::Permissions::from_mode(mode))?)
}

/// Bytes that don't compress (xorshift64, Marsaglia 2003).
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Serves files on loopback until this process ends.
fn serve(root: PathBuf) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            // A connection that breaks concerns nobody but its client.
            thread::spawn(move || drop(answer(&stream, &root)));
        }
    });
    Ok(port)
}

fn answer(mut stream: &TcpStream, root: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let Ok(mut file) = File::open(root.join(path)) else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    };
    let len = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n")?;
    io::copy(&mut file, &mut stream).map(|_len| ())
}
