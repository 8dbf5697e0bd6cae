//! An independent client accepts what we publish: PyPI `tuf`'s `ngclient`, over loopback HTTP,
//! through rotations of root, online and release keys.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::desk::Desk;

/// The client and what it needs, pinned.
const PACKAGES: [&str; 3] = ["tuf==7.0.0", "securesystemslib==1.6.0", "urllib3==2.5.0"];

/// A Python with `tuf`; why there is none, otherwise.
fn python() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ngclient-7.0.0");
    let python = home.join("bin/python");
    if home.join("whole").exists() {
        return Ok(python);
    }
    let run = |command: &mut Command| -> Result<(), String> {
        let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    std::fs::File::create(home.join("whole")).map_err(|error| error.to_string())?;
    Ok(python)
}

struct Client<'a> {
    desk: &'a Desk,
    python: &'a Path,
    name: &'a str,
}

impl Client<'_> {
    fn try_follow(&self, targets: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/publishing/ngclient.py");
        let mut command = Command::new(self.python);
        command.arg(script).arg(self.desk.path("repo/public"));
        command.arg(self.desk.path(&format!("{}/metadata", self.name)));
        command.arg(self.desk.path(&format!("{}/downloads", self.name)));
        command.arg(self.desk.path("repo/public/metadata/1.root.json")).args(targets);
        command.output().unwrap()
    }

    fn follow(&self, targets: &[&str]) {
        let done = self.try_follow(targets);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {said}", self.name);
        let lines = String::from_utf8_lossy(&done.stdout).lines().count();
        assert_eq!(lines, targets.len());
    }
}

#[test]
fn ngclient_follows_what_is_published_through_every_rotation() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "PyPI tuf could not be installed: {why}");
            // Past the test runner's capture, so that it is seen.
            let said = writeln!(std::io::stderr(), "\nNOT RUN, it needs python3 with venv: {why}");
            said.unwrap();
            return;
        }
    };
    let desk = Desk::with_repository(&["erin", "frank"]);
    let client = |name| Client { desk: &desk, python: &python, name };
    let (first, second) = ("web/1.0.0/any.tar.zst", "web/1.1.0/any.tar.zst");
    let old = client("old");
    old.follow(&[]);
    desk.release("1.0.0", 1, &["carol", "dave"]);
    old.follow(&[first]);
    desk.run(&["repo", "refresh", "repo"]);
    old.follow(&[first]);

    // Root: erin in alice's place, and new online keys.
    let alice = id_of(&desk, "alice");
    desk.run(&[
        "repo",
        "rotate-root",
        "repo",
        "--add",
        "keys/erin.pub",
        "--remove",
        &alice,
        "--online",
    ]);
    desk.sign(&["alice", "bob", "erin"], &["root"]);
    desk.sign(&["bob", "erin"], &["targets"]);
    desk.run(&["release", "publish", "repo"]);
    old.follow(&[first]);
    client("after-root").follow(&[first]);

    // The component: frank in carol's place.
    let carol = id_of(&desk, "carol");
    desk.run(&[
        "repo",
        "add-key",
        "repo",
        "--component",
        "web",
        "--key",
        "keys/frank.pub",
        "--remove",
        &carol,
    ]);
    desk.sign(&["bob", "erin"], &["targets"]);
    desk.sign(&["dave", "frank"], &["component-web"]);
    desk.run(&["release", "publish", "repo"]);
    old.follow(&[first]);
    desk.release("1.1.0", 2, &["dave", "frank"]);
    old.follow(&[first, second]);
    client("after-all").follow(&[first, second]);

    desk.run(&["release", "revoke", "--repo", "repo", "web", "1.1.0", "--reason", "it loses data"]);
    desk.sign(&["dave", "frank"], &["component-web"]);
    desk.run(&["release", "publish", "repo"]);
    old.follow(&[second]);

    // That it really checks: one byte more, and it refuses.
    for (path, mut bytes) in desk.tree("repo/public/targets/web/1.1.0") {
        bytes.push(0);
        let name = path.strip_prefix(desk.path("")).unwrap().to_str().unwrap().to_owned();
        desk.write(&name, &String::from_utf8_lossy(&bytes), false);
    }
    assert!(!client("victim").try_follow(&[second]).status.success());
}

fn id_of(desk: &Desk, holder: &str) -> String {
    let status = desk.run(&["repo", "status", "repo"]);
    let at = status.find(&format!("{holder}:")).unwrap() + holder.len() + 1;
    status[at..at + 8].to_owned()
}
