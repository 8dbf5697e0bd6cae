//! A host without systemd: a root directory, a launcher, and the agent's command line.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::clients::get;

/// How long anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Host {
    root: PathBuf,
    port: u16,
    launcher: Child,
}

impl Host {
    pub(crate) fn set_up(directory: &Path, url: &str, first_root: &Path) -> Self {
        let root = directory.join("host");
        let port = free_port();
        let init = Command::new(program("handover-agent"))
            .arg("--root")
            .arg(&root)
            .args(["init", "--name", "host", "--repository", url, "--trusted-root"])
            .arg(first_root)
            .output()
            .unwrap();
        assert!(init.status.success(), "init: {}", String::from_utf8_lossy(&init.stderr));
        let policy = format!(
            "agent: host\nrepository: {{ metadata: \"{url}/metadata\", targets: \"{url}/targets\" \
             }}\ncomponents:\n  - name: esbuild\n    mode: manual\n    parameters: {{ port: \
             \"{port}\" }}\n"
        );
        #[expect(clippy::disallowed_methods, reason = "what a person would edit")]
        std::fs::write(root.join("policy.yaml"), policy).unwrap();
        let launcher = Command::new(root.join("bin/handover-launch"))
            .arg("--root")
            .arg(&root)
            .arg("esbuild")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { root, port, launcher }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs the agent's command line, which must succeed.
    pub(crate) fn agent_well(&self, words: &[&str]) {
        let output = Command::new(program("handover-agent"))
            .arg("--root")
            .arg(&self.root)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "handover-agent {}: {}\n{}{}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Waits until requests are answered by `version`, and status agrees.
    #[expect(clippy::disallowed_methods, reason = "a deadline")]
    pub(crate) fn wait_until_served(&self, version: &str) {
        let began = Instant::now();
        let page = format!("served by handover, {version}");
        while !(get(self.port).is_ok_and(|answer| answer.contains(&page))
            && self.settled_on(version))
        {
            assert!(
                began.elapsed() < PATIENCE,
                "esbuild {version} is not served, or not settled: {}",
                self.status()
            );
        }
    }

    fn status(&self) -> serde_json::Value {
        let output = Command::new(program("handover-agent"))
            .arg("--root")
            .arg(&self.root)
            .args(["--output", "json", "status"])
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn settled_on(&self, version: &str) -> bool {
        let status = self.status();
        let components = status["components"].as_array().unwrap();
        components.iter().any(|component| {
            component["component"] == "esbuild"
                && component["current"] == version
                && component["state"] == "running"
                && component["process"]["proved"] == true
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.launcher);
        // It may have ended already; the wait says so either way.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.launcher.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of this workspace, built beside `handover`.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_handover")).with_file_name(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    path
}
