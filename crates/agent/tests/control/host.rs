//! An enrolled host and its processes.

use std::process::{Child, Command, Stdio};

use handover_model::wire::Action;

use crate::plane::Plane;
use crate::site::{Site, web};

/// A process of this host, ended with the test.
pub(crate) struct Running(Child);

impl Running {
    /// The agent itself, without a launcher.
    pub(crate) fn agent(site: &Site) -> Self {
        let mut command = site.command(&["follow"]);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// A component's launcher, and through it the component.
    pub(crate) fn launcher(site: &Site, component: &str) -> Self {
        let mut command = Command::new(site.root().join("bin/handover-launch"));
        Self(command.args(["--root", site.root().as_str(), component]).spawn().unwrap())
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal);
    }

    pub(crate) fn kill(mut self) {
        self.signal(rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A site with an enrolled host.
pub(crate) fn enrolled() -> (Site, Plane) {
    let site = Site::new();
    let (plane, token) = Plane::start(&site);
    let (code, _, said) = site.run(&["enroll", &token, "--name", "host-1"]);
    assert_eq!(code, 0, "{said}");
    (site, plane)
}

pub(crate) fn update(to: Option<&str>) -> Action {
    Action::Update { component: web(), to: to.map(|version| version.parse().unwrap()) }
}

pub(crate) fn runs_of_web(site: &Site) -> usize {
    let runs = site.root().join("components/web/runs");
    runs.read_dir_utf8().map_or(0, Iterator::count)
}

pub(crate) fn framed(path: &camino::Utf8Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(text.split_once('\n').unwrap().1).unwrap()
}
