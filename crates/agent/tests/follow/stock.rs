//! The whole way with the stock entrypoint and a real launcher.

use std::process::{Child, Command};

use crate::site::Site;
use crate::until;

pub(crate) struct Launcher(Child);

impl Launcher {
    pub(crate) fn start(site: &Site, component: &str) -> Self {
        let mut command = Command::new(site.root().join("bin/handover-launch"));
        Self(command.args(["--root", site.root().as_str(), component]).spawn().unwrap())
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn web(site: &Site) -> serde_json::Value {
    site.json(&["status"])["components"][1].clone()
}

#[test]
fn a_release_arrives_the_next_takes_over_a_bad_one_reverts_and_a_person_goes_back() {
    let mut site = Site::new();
    site.init();
    let _launcher = Launcher::start(&site, "web");
    site.publish_stock("1.0.0", 1, true);
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!(code, 0, "{out}{said}");
    until("1.0.0 runs, proved", || web(&site)["state"] == "running");

    site.publish_stock("1.1.0", 2, true);
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!((code, out.trim()), (0, "web 1.1.0: committed"), "{said}");
    until("1.1.0 runs", || web(&site)["process"]["version"] == "1.1.0");
    assert_eq!(web(&site)["previous"][0], "1.0.0");

    site.publish_stock("1.2.0", 3, false);
    let (code, out, said) = site.run(&["follow", "--once"]);
    assert_eq!(code, 4, "{out}{said}");
    let seen = web(&site);
    assert_eq!(
        (seen["current"].as_str(), seen["quarantine"][0]["version"].as_str()),
        (Some("1.1.0"), Some("1.2.0"))
    );
    let explained = site.json(&["explain", "web"]);
    assert_eq!(explained["code"], "quarantined", "{explained}");
    let (code, out, _) = site.run(&["follow", "--once"]);
    assert_eq!((code, out.contains("nothing to do")), (0, true), "{out}");

    // Beyond its trial, 1.1.0 asked for no time to return in: the floor rose.
    let (code, _, said) = site.run(&["rollback", "web"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("permit"), "{said}");
    assert_eq!(site.json(&["doctor"]), serde_json::json!([]));
}

#[test]
fn the_agent_updates_itself_by_the_very_same_path_while_web_goes_on() {
    let mut site = Site::new();
    site.init();
    let own = |site: &Site| site.json(&["status"])["components"][0].clone();
    let _web = Launcher::start(&site, "web");
    let _agent = Launcher::start(&site, "handover-agent");
    site.publish_stock("1.0.0", 1, true);
    until("the seeded agent installed web", || web(&site)["state"] == "running");
    let pid = web(&site)["process"]["pid"].clone();

    site.publish_agent("0.2.0", 1);
    until("the agent is the new one", || own(&site)["current"] == "0.2.0");
    until("it runs, proved", || own(&site)["state"] == "running");
    assert_eq!(own(&site)["process"]["version"], "0.2.0");
    assert_eq!(web(&site)["process"]["pid"], pid, "web noticed nothing");

    site.publish_stock("1.1.0", 2, true);
    until("the new agent updates web", || web(&site)["process"]["version"] == "1.1.0");
}
