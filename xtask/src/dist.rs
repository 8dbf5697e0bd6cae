//! `cargo xtask dist`: what a person installs. Debian packages of the agent, of the command line
//! and of the server, built without debhelper from trees that are laid out here, the same bytes for the same
//! commit and tool chain.

mod deb;
mod pages;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, ValueEnum};

use crate::command;
use deb::Deb;
pub(crate) use deb::put;

/// A package: what goes into it beyond its control files, settings and units, which lie in
/// `packaging/` under its name.
struct Package {
    name: &'static str,
    /// Programs and where they go.
    programs: &'static [(&'static str, &'static str)],
    /// The link in `usr/bin`: programs find what belongs to them beside what they really are.
    link: Option<&'static str>,
}

const PACKAGES: [Package; 3] = [
    Package {
        name: "handover-agent",
        programs: &[
            ("handover-agent", "usr/lib/handover/handover-agent"),
            ("handover-launch", "usr/lib/handover/handover-launch"),
            ("handover-upgrade", "usr/lib/handover/handover-upgrade"),
        ],
        link: Some("../lib/handover/handover-agent"),
    },
    // The stock entrypoint lies beside the command line, which puts it into packages.
    Package {
        name: "handover",
        programs: &[
            ("handover", "usr/lib/handover/cli/handover"),
            ("handover-upgrade", "usr/lib/handover/cli/handover-upgrade"),
        ],
        link: Some("../lib/handover/cli/handover"),
    },
    // The command line is the server too: this package is a user, a unit and its settings.
    Package { name: "handover-server", programs: &[], link: None },
];
/// What is shipped, for the report of sizes.
const PROGRAMS: [&str; 4] = ["handover-agent", "handover-launch", "handover-upgrade", "handover"];
/// DESIGN 12: the agent's budget, stripped.
const AGENT_BUDGET: u64 = 4 * 1024 * 1024;

/// What to build.
#[derive(Args)]
pub(crate) struct Options {
    /// Where the packages go.
    #[arg(long, default_value = "dist")]
    pub(crate) out: Utf8PathBuf,
    /// Which build goes in; `dev` is for trying packages out.
    #[arg(long, value_enum, default_value = "release")]
    pub(crate) profile: Profile,
    /// Build the programs as they are shipped, and no packages.
    #[arg(long)]
    pub(crate) programs_only: bool,
    /// The packages' version, where it is not the workspace's.
    #[arg(long)]
    pub(crate) version: Option<String>,
}

/// Build profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Small and stripped: what is shipped.
    Release,
    /// What `cargo build` makes.
    Dev,
}

impl Profile {
    /// How packages are compressed: small for shipping, fast for trying out.
    fn compression(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["-Zxz"],
            Self::Dev => &["-Zzstd", "-z1"],
        }
    }

    /// The directory below `target/`.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Release => "target/release",
            Self::Dev => "target/debug",
        }
    }
}

/// Builds everything into `options.out` and returns the packages' paths.
///
/// # Errors
/// When a build or a packaging tool fails.
pub(crate) fn build(options: &Options) -> anyhow::Result<Vec<Utf8PathBuf>> {
    compile(options.profile)?;
    if options.programs_only {
        return Ok(Vec::new());
    }
    fs::create_dir_all(&options.out).with_context(|| format!("make {}", options.out))?;
    let version = options.version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    let epoch = epoch()?;
    let mut made = Vec::new();
    for package in &PACKAGES {
        let name = package.name;
        let deb = Deb {
            name,
            version: &version,
            architecture: architecture()?,
            epoch: &epoch,
            source: Utf8Path::new("packaging/debian"),
            compression: options.profile.compression(),
        };
        let stage = Utf8PathBuf::from(format!("target/dist/{name}"));
        if stage.exists() {
            fs::remove_dir_all(&stage).with_context(|| format!("remove {stage}"))?;
        }
        lay_out(package, options.profile, &stage)?;
        made.push(deb.build(&stage, &options.out)?);
    }
    Ok(made)
}

/// Prints how large the programs are and whether the agent keeps to its budget.
///
/// # Errors
/// When a program is missing.
pub(crate) fn report(made: &[Utf8PathBuf], profile: Profile) -> anyhow::Result<()> {
    for program in PROGRAMS {
        println!("{:>12}  {program}", size(&Utf8Path::new(profile.directory()).join(program))?);
    }
    for path in made {
        println!("{:>12}  {path}", size(path)?);
    }
    if profile == Profile::Release {
        let agent = size(&Utf8Path::new(profile.directory()).join("handover-agent"))?;
        if agent > AGENT_BUDGET {
            println!("handover-agent is over the {AGENT_BUDGET} bytes that DESIGN 12 allows it");
        }
    }
    Ok(())
}

fn size(path: &Utf8Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("look at {path}"))?.len())
}

fn compile(profile: Profile) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    match profile {
        Profile::Release => {
            cargo.args(["build", "--release", "-p", "handover-agent", "-p", "handover-cli"]);
        }
        // Without ourselves: a running program must not replace itself.
        Profile::Dev => {
            cargo.args(["build", "--quiet", "--workspace", "--exclude", "xtask"]);
        }
    }
    command::run(cargo.arg("--bins"))?;
    match profile {
        Profile::Release => link_launcher_statically().and_then(|()| shrink_agent()),
        Profile::Dev => Ok(()),
    }
}

/// The agent as it is shipped: optimised for size, without unwinding and its tables, with packed
/// relocations (glibc 2.36 and later read them) and identical functions folded. Built beside the
/// others, since these flags reach every crate below it, then put in its place.
fn shrink_agent() -> anyhow::Result<()> {
    const TARGET: &str = "target/agent";
    let script = Utf8Path::new("packaging/link/no-unwinding.ld");
    let script = script.canonicalize_utf8().with_context(|| format!("find {script}"))?;
    let flags = format!(
        "-C force-unwind-tables=no -C link-arg=-Wl,-z,pack-relative-relocs \
         -C link-arg=-Wl,--icf=all -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,{script}"
    );
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", "resident", "--target-dir", TARGET]);
    cargo.args(["-p", "handover-agent", "--bin", "handover-agent"]).env("RUSTFLAGS", flags);
    cargo.env("CFLAGS", "-Os -fno-asynchronous-unwind-tables -fno-unwind-tables");
    command::run(&mut cargo)?;
    let built = Utf8PathBuf::from(TARGET).join("resident/handover-agent");
    install(&built, &Utf8Path::new(Profile::Release.directory()).join("handover-agent"), 0o755)
}

/// One launcher runs for each component, all the time: without a C library of its own to touch it
/// keeps to its budget of memory (DESIGN 12). It uses no resolver, so nothing is lost.
fn link_launcher_statically() -> anyhow::Result<()> {
    let launcher = ["rustc", "--release", "-p", "handover-agent", "--bin", "handover-launch"];
    let flags = ["--", "-C", "target-feature=+crt-static"];
    command::run(Command::new("cargo").args(launcher).args(flags))
}

/// Puts a package's files where they belong below `stage`.
fn lay_out(package: &Package, profile: Profile, stage: &Utf8Path) -> anyhow::Result<()> {
    let (name, built) = (package.name, Utf8Path::new(profile.directory()));
    fs::create_dir_all(stage).with_context(|| format!("make {stage}"))?;
    for (program, target) in package.programs {
        install(&built.join(program), &stage.join(target), 0o755)?;
    }
    if let Some(target) = package.link {
        pages::install(&built.join(name), name, stage)?;
        let bin = stage.join("usr/bin");
        fs::create_dir_all(&bin).with_context(|| format!("make {bin}"))?;
        symlink(target, bin.join(name)).with_context(|| format!("link into {bin}"))?;
    }
    if name == "handover-agent" {
        let entry = stage.join("usr/lib/handover/container-entry");
        install(Utf8Path::new("packaging/container/entry"), &entry, 0o755)?;
    }
    copy_tree(
        &Utf8Path::new("packaging/systemd").join(name),
        &stage.join("usr/lib/systemd/system"),
        0o644,
    )?;
    // Settings may hold passwords.
    copy_tree(&Utf8Path::new("packaging/debian").join(name).join("etc"), &stage.join("etc"), 0o600)
}

/// Copies the regular files of a tree, if it is there at all, each with `mode`.
fn copy_tree(from: &Utf8Path, to: &Utf8Path, mode: u32) -> anyhow::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    for file in files_below(from)? {
        let inside = file.strip_prefix(from).context("a file of the tree is below it")?;
        install(&file, &to.join(inside), mode)?;
    }
    Ok(())
}

/// Copies one file, making the directories above it, with exactly `mode`.
pub(crate) fn install(from: &Utf8Path, to: &Utf8Path, mode: u32) -> anyhow::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {parent}"))?;
    }
    fs::copy(from, to).with_context(|| format!("copy {from} to {to}"))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {to}"))
}

/// The regular files below a directory, sorted.
fn files_below(directory: &Utf8Path) -> anyhow::Result<Vec<Utf8PathBuf>> {
    let mut found = Vec::new();
    for entry in directory.read_dir_utf8().with_context(|| format!("list {directory}"))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.append(&mut files_below(entry.path())?);
        } else if kind.is_file() {
            found.push(entry.into_path());
        }
    }
    found.sort();
    Ok(found)
}

/// When the commit was made, in seconds since 1970: the only time that goes into packages.
fn epoch() -> anyhow::Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let said = command::output(&mut command::words("git log -1 --format=%ct"))?;
    Ok(said.trim().to_owned())
}

/// Debian's name for the architecture that we run on, and build for.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => anyhow::bail!("no Debian package is made for {other}"),
    }
}
