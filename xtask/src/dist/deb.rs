//! One Debian package, from a tree and from the control files in `packaging/debian/<name>/`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use super::{files_below, install};
use crate::command;

/// Maintainer scripts that a package may have.
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// What the package is called and comes from.
pub(super) struct Deb<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its version.
    pub(super) version: &'a str,
    /// Debian's name for the architecture.
    pub(super) architecture: &'a str,
    /// Seconds since 1970 that every file in it carries.
    pub(super) epoch: &'a str,
    /// Where control files, copyright and changelog are.
    pub(super) source: &'a Utf8Path,
    /// Options of `dpkg-deb`.
    pub(super) compression: &'a [&'a str],
}

impl Deb<'_> {
    /// Turns the tree below `stage` into a package in `out`.
    ///
    /// # Errors
    /// When a file is missing or `dpkg-deb` fails.
    pub(super) fn build(&self, stage: &Utf8Path, out: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
        self.documents(stage)?;
        self.modes(stage)?;
        self.control(stage)?;
        let path = out.join(format!("{}_{}_{}.deb", self.name, self.version, self.architecture));
        command::output(
            Command::new("dpkg-deb")
                .arg("--root-owner-group")
                .args(self.compression)
                .args(["--threads-max=1", "--build"])
                .arg(stage)
                .arg(&path)
                .env("SOURCE_DATE_EPOCH", self.epoch),
        )?;
        Ok(path)
    }

    /// Copyright and changelog, which every package has.
    fn documents(&self, stage: &Utf8Path) -> anyhow::Result<()> {
        let doc = stage.join("usr/share/doc").join(self.name);
        install(&self.source.join("copyright"), &doc.join("copyright"), 0o644)?;
        let date = command::output(
            Command::new("date")
                .args(["--utc", "--rfc-email", "--date"])
                .arg(format!("@{}", self.epoch)),
        )?;
        let text = format!(
            "{} ({}) stable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n -- {}  {}\n",
            self.name,
            self.version,
            MAINTAINER,
            date.trim()
        );
        put(&doc.join("changelog"), &text, 0o644)?;
        compress(&doc.join("changelog"))
    }

    /// Directories are 0755 whatever the umask says.
    fn modes(&self, stage: &Utf8Path) -> anyhow::Result<()> {
        let _ = self;
        command::output(Command::new("chmod").arg("0755").arg(stage))?;
        command::output(
            Command::new("find")
                .arg(stage)
                .args(["-type", "d", "-exec", "chmod", "0755", "{}", "+"]),
        )?;
        Ok(())
    }

    fn control(&self, stage: &Utf8Path) -> anyhow::Result<()> {
        let source = self.source.join(self.name);
        let debian = stage.join("DEBIAN");
        let (sums, bytes) = sums(stage)?;
        fs::create_dir_all(&debian).with_context(|| format!("make {debian}"))?;
        let template = source.join("control");
        let control = fs::read_to_string(&template).with_context(|| format!("read {template}"))?;
        let control = control
            .replace("@VERSION@", self.version)
            .replace("@ARCHITECTURE@", self.architecture)
            .replace("@MAINTAINER@", MAINTAINER)
            .replace("@SIZE@", &bytes.div_ceil(1024).to_string());
        put(&debian.join("control"), &control, 0o644)?;
        put(&debian.join("md5sums"), &sums, 0o644)?;
        self.settings(stage, &debian)?;
        for script in SCRIPTS {
            let from = source.join(script);
            if from.exists() {
                install(&from, &debian.join(script), 0o755)?;
            }
        }
        Ok(())
    }

    /// Names what lies in `etc` as settings, which dpkg keeps as the administrator left them.
    fn settings(&self, stage: &Utf8Path, debian: &Utf8Path) -> anyhow::Result<()> {
        let etc = stage.join("etc");
        if !etc.exists() {
            return Ok(());
        }
        let mut text = String::new();
        for file in files_below(&etc)? {
            let inside = file.strip_prefix(stage).context("a file of the tree is below it")?;
            writeln!(text, "/{inside}")?;
        }
        put(&debian.join("conffiles"), &text, 0o644).with_context(|| self.name.to_owned())
    }
}

const MAINTAINER: &str = "Handover <packages@example.com>";

/// `md5sums` as dpkg wants it, and how many bytes the tree holds.
fn sums(stage: &Utf8Path) -> anyhow::Result<(String, u64)> {
    let (mut text, mut bytes) = (String::new(), 0);
    for file in files_below(stage)? {
        let name = file.strip_prefix(stage).context("a file of the tree is below it")?;
        let sum = command::output(Command::new("md5sum").arg(&file))?;
        let sum = sum.split(' ').next().unwrap_or_default();
        writeln!(text, "{sum}  {name}")?;
        bytes += fs::metadata(&file).with_context(|| format!("look at {file}"))?.len();
    }
    Ok((text, bytes))
}

/// Writes a file of a package.
#[expect(clippy::disallowed_methods, reason = "a build product: made again, never relied on")]
pub(crate) fn put(path: &Utf8Path, text: &str, mode: u32) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {parent}"))?;
    }
    fs::write(path, text).with_context(|| format!("write {path}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {path}"))
}

/// Replaces a file by its gzip-compressed self, without name or time.
pub(super) fn compress(path: &Utf8Path) -> anyhow::Result<()> {
    command::output(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(path))?;
    Ok(())
}
