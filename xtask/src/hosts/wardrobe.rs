//! What hosts find under `/srv/share`: packages of two versions, a repository, its trusted root.

use std::fs;
use std::process::Command;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::cast::{Cast, Web};
use crate::command;
use crate::dist::{self, Profile, install, put};

/// Where the repository is served, for hosts' policies.
pub(super) const REPOSITORY: &str = "192.0.2.1:7280";

/// Every version of the service that scenarios ask for by name.
const WEBS: [Web<'static>; 7] = [
    Web { version: "1.0.0", sequence: 1, schema: 1, ..PLAIN },
    Web { version: "1.1.0", sequence: 2, schema: 2, more: "return_within: 60s\n", ..PLAIN },
    Web { version: "1.2.0", sequence: 3, schema: 2, behaviour: ILL, window: "4s", ..PLAIN },
    // Long enough on trial for something to happen in the middle of it.
    Web { version: "1.3.0", sequence: 4, schema: 2, stable_for: "5s", ..PLAIN },
    Web { version: "1.4.0", sequence: 5, schema: 2, behaviour: ILL, window: "8s", ..PLAIN },
    Web { version: "1.5.0", sequence: 6, behaviour: ", \"ignore_stop\": true", ..PLAIN },
    Web { version: "1.6.0", sequence: 7, schema: 2, more: OUTSIDE, ..PLAIN },
];
const PLAIN: Web<'static> = Web {
    version: "",
    sequence: 0,
    schema: 2,
    behaviour: "",
    more: "",
    window: "30s",
    stable_for: "300ms",
};
const ILL: &str = ", \"health\": \"ill\"";
const OUTSIDE: &str = r"return_within: 60s
outside:
  - path: /etc/systemd/system/handover@web.service.d/50-web.conf
    source: etc/50-web.conf
    then: [systemctl, daemon-reload]
";

/// Fills `share`.
///
/// # Errors
/// When a build or the command line fails.
pub(super) fn prepare(share: &Utf8Path) -> anyhow::Result<()> {
    if share.exists() {
        fs::remove_dir_all(share).with_context(|| format!("remove {share}"))?;
    }
    for version in ["0.1.0", "0.1.1"] {
        dist::build(&dist::Options {
            out: share.join("debs"),
            profile: Profile::Dev,
            programs_only: false,
            version: Some(version.to_owned()),
        })?;
    }
    let programs = Utf8PathBuf::from(Profile::Dev.directory());
    let making = share.join("making");
    let cast = Cast::begin(&making, &programs, &["web", "handover-agent"])?;
    for web in WEBS {
        let source = making.join(web.version);
        web.lay_out(&source, &programs.join("handover-sample-web"))?;
        put(&source.join("payload/etc/50-web.conf"), DROP_IN, 0o644)?;
        cast.publish(&source)?;
    }
    for (version, sequence, works) in [("0.2.0", 1, true), ("0.3.0", 2, false)] {
        let source = making.join(version);
        lay_out_agent(&source, &programs, version, sequence, works)?;
        cast.publish(&source)?;
    }
    command::output(Command::new("cp").arg("-a").arg(cast.public()).arg(share.join("repository")))?;
    install(&share.join("repository/metadata/1.root.json"), &share.join("root.json"), 0o644)?;
    fs::remove_dir_all(&making).with_context(|| format!("remove {making}"))
}

const DROP_IN: &str = "[Unit]\nDescription=The sample service\n";

/// A release of the agent itself, with its launcher; or one that never says that it is ready.
fn lay_out_agent(
    to: &Utf8Path,
    programs: &Utf8Path,
    version: &str,
    sequence: u32,
    works: bool,
) -> anyhow::Result<()> {
    let manifest = format!(
        r#"format: 1
component: handover-agent
version: {version}
sequence: {sequence}
upgrades_from: "<{version}"
service:
  executable: bin/handover-agent
  arguments: [--root, /var/lib/handover, follow]
  readiness: notify
health:
  stable_for: 500ms
  every: 100ms
  successes: 2
  checks:
    - name: repository
      reach: {{ url: "http://{REPOSITORY}/metadata/timestamp.json" }}
trial: {{ window: 6s, boots: 2 }}
"#
    );
    put(&to.join("release.yaml"), &manifest, 0o644)?;
    let bin = to.join("payload/bin");
    for program in ["handover-agent", "handover-launch"] {
        install(&programs.join(program), &bin.join(program), 0o755)?;
        // Another version is another file.
        let line = format!("printf '\\nversion {version}\\n' >> {}", bin.join(program));
        command::output(Command::new("sh").args(["-c", &line]))?;
    }
    if !works {
        put(&bin.join("handover-agent"), "#!/bin/sh\nexec sleep 1000\n", 0o755)?;
    }
    Ok(())
}
