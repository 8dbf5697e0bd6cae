//! The releases that the demo publishes: eight of the sample service, two of the agent.

use std::path::PathBuf;

use anyhow::Context;

use super::publisher::Content;

/// The programs that the demo drives and packages. They lie beside this one.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Looks for them.
    pub(super) fn find() -> anyhow::Result<Self> {
        let here = std::env::current_exe().context("could not find this program")?;
        let directory = here.parent().context("this program lies in no directory")?.to_owned();
        let found = Self { directory };
        for name in [
            "handover",
            "handover-agent",
            "handover-launch",
            "handover-upgrade",
            "handover-sample-web",
        ] {
            let path = found.path(name);
            anyhow::ensure!(
                path.is_file(),
                "{} is missing: build everything first, with `cargo build --workspace`",
                path.display()
            );
        }
        Ok(found)
    }

    /// Where one lies.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// An executable for a package: the program, with a line at its end that tells versions apart
    /// where two real versions would differ in code.
    fn executable(&self, name: &str, version: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.path(name);
        let mut bytes =
            std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        bytes.extend_from_slice(format!("\nversion {version}\n").as_bytes());
        Ok(bytes)
    }
}

/// Versions of the sample service: number, `release.yaml`, `behaviour.json`.
macro_rules! web {
    ($version:literal) => {
        (
            $version,
            include_str!(concat!("../../../../examples/web/releases/", $version, "/release.yaml")),
            include_str!(concat!(
                "../../../../examples/web/releases/",
                $version,
                "/behaviour.json"
            )),
        )
    };
}

const WEB: [(&str, &str, &str); 8] = [
    web!("1.0.0"),
    web!("1.1.0"),
    web!("1.2.0"),
    web!("1.3.0"),
    web!("1.4.0"),
    web!("1.5.0"),
    web!("1.6.0"),
    web!("1.7.0"),
];

/// The entrypoint that hangs.
const HANGING: &str = include_str!("../../../../examples/web/releases/1.3.0/upgrade");

/// A release of the sample service.
pub(super) fn web(programs: &Programs, version: &str) -> anyhow::Result<Content> {
    let (_, manifest, behaviour) = WEB
        .into_iter()
        .find(|(name, _, _)| *name == version)
        .with_context(|| format!("there is no web {version}"))?;
    let executable = programs.executable("handover-sample-web", version)?;
    Ok(Content {
        manifest: manifest.to_owned(),
        files: vec![
            ("bin/web", executable, 0o755),
            ("behaviour.json", behaviour.as_bytes().to_vec(), 0o644),
        ],
        entrypoint: (version == "1.3.0").then_some(HANGING),
    })
}

/// A release of the agent itself.
pub(super) fn agent(programs: &Programs, version: &str, sequence: u32) -> anyhow::Result<Content> {
    let manifest = include_str!("agent-release.yaml")
        .replace("@VERSION@", version)
        .replace("@SEQUENCE@", &sequence.to_string());
    Ok(Content {
        manifest,
        files: vec![
            ("bin/handover-agent", programs.executable("handover-agent", version)?, 0o755),
            ("bin/handover-launch", programs.executable("handover-launch", version)?, 0o755),
        ],
        entrypoint: None,
    })
}
