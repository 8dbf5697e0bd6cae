//! `handover release`: from a description to a signed, published package.

mod archive;
mod build;
mod check;
mod elf;
mod error;
mod list;
mod locate;
mod sign;
mod stage;
mod template;

use camino::Utf8PathBuf;
use clap::Subcommand;
use handover_model::{AgentName, ComponentName, Millis, Platform, Version};

use crate::control::Question;
use crate::output::Out;
use crate::secret::PassphraseArgs;

pub(crate) use error::ReleaseError;
pub(crate) use stage::digest_file;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented `release.yaml` to edit.
    New {
        /// The component.
        component: ComponentName,
        /// The file to write.
        #[arg(default_value = "release.yaml")]
        file: Utf8PathBuf,
        /// The first version.
        #[arg(long, default_value = "0.1.0")]
        version: Version,
    },
    /// Say everything that is wrong with a `release.yaml`, and the way out of each.
    Check {
        /// The description.
        #[arg(default_value = "release.yaml")]
        file: Utf8PathBuf,
        /// A repository that it must fit into.
        #[arg(long, value_name = "DIRECTORY")]
        repo: Option<Utf8PathBuf>,
    },
    /// Make the package for one platform. The same input gives the same bytes.
    Build {
        /// The description.
        #[arg(default_value = "release.yaml")]
        file: Utf8PathBuf,
        /// The platform, or `any`.
        #[arg(long)]
        platform: Platform,
        /// The directory whose content becomes the package.
        #[arg(long)]
        payload: Utf8PathBuf,
        /// The entrypoint, in place of the `handover-upgrade` that lies beside this program.
        #[arg(long)]
        entrypoint: Option<Utf8PathBuf>,
        /// Where the package is written.
        #[arg(long, default_value = ".")]
        out: Utf8PathBuf,
    },
    /// List packages in their component's next document, which then waits for signatures.
    Stage {
        /// The repository's directory.
        #[arg(long)]
        repo: Utf8PathBuf,
        /// Packages that `build` made; a `.asc` beside one goes with it.
        packages: Vec<Utf8PathBuf>,
        /// Stage this component's document anew, to renew its expiry.
        #[arg(long)]
        component: Option<ComponentName>,
    },
    /// Show what a document says and sign it; or sign packages with OpenPGP.
    Sign {
        /// Documents that wait for signatures (`*.tosign.json`), or packages with `--openpgp`.
        #[arg(required = true)]
        files: Vec<Utf8PathBuf>,
        /// The private key to sign documents with.
        #[arg(long, value_name = "FILE.pem", required_unless_present = "openpgp")]
        key: Option<Utf8PathBuf>,
        /// The OpenPGP key to sign packages with, into a `.asc` beside each.
        #[arg(long, value_name = "KEYID", conflicts_with = "key")]
        openpgp: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Publish everything that waits, if all its signatures are there; else nothing.
    #[command(after_help = "Example: handover release publish repo --server")]
    Publish {
        /// The repository's directory.
        repo: Utf8PathBuf,
        /// Then bring it to the control plane: upload what it lacks, and have it swapped in. The
        /// control plane verifies it as a host would, and can't sign anything itself.
        #[arg(long)]
        server: bool,
    },
    /// List what is published, in a directory or on the control plane.
    List {
        /// The repository's directory; the control plane unless said.
        repo: Option<Utf8PathBuf>,
        /// One component alone.
        #[arg(long)]
        component: Option<ComponentName>,
    },
    /// Show one release, in a directory or on the control plane.
    Show {
        /// The component.
        component: ComponentName,
        /// The version.
        version: Version,
        /// The repository's directory; the control plane unless said.
        #[arg(long)]
        repo: Option<Utf8PathBuf>,
    },
    /// Show which release takes over from which, in a directory or on the control plane.
    Graph {
        /// The component.
        component: ComponentName,
        /// The repository's directory; the control plane unless said.
        #[arg(long)]
        repo: Option<Utf8PathBuf>,
    },
    /// Take a release back: no host installs it any more once that is signed and published.
    Revoke {
        /// The repository's directory.
        #[arg(long)]
        repo: Utf8PathBuf,
        /// The component.
        component: ComponentName,
        /// The version.
        version: Version,
        /// Why, for people.
        #[arg(long)]
        reason: String,
    },
    /// Write a permit to go back to an older version. It waits for the release keys' signatures.
    Permit {
        /// The component.
        #[arg(long)]
        component: ComponentName,
        /// The version to go to.
        #[arg(long)]
        to: Version,
        /// The agents that it is for, by name.
        #[arg(long = "agent", required = true)]
        agents: Vec<AgentName>,
        /// Why, for people.
        #[arg(long)]
        reason: String,
        /// How long it holds.
        #[arg(long, default_value = "24h")]
        valid: Millis,
        /// The file to write.
        #[arg(long, default_value = "permit.json")]
        out: Utf8PathBuf,
    },
}

/// What the control plane has to do with a command.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing: it is done.
    Nothing,
    /// It is to be asked.
    Ask(Question),
    /// It is to get what is published in a directory.
    Upload(Utf8PathBuf),
}

/// Runs one. What is to be asked of the control plane comes back as a question, what is to be
/// brought to it as a directory.
pub(crate) fn run(command: Command, out: &Out) -> Result<Next, ReleaseError> {
    match command {
        Command::New { component, file, version } => {
            template::write(&component, &version, &file, out)?;
        }
        Command::Check { file, repo } => check::check(&file, repo.as_deref(), out)?,
        Command::Build { file, platform, payload, entrypoint, out: goal } => {
            let entrypoint = entrypoint.as_deref();
            let order = build::BuildOrder {
                file: &file,
                platform,
                payload: &payload,
                entrypoint,
                goal: &goal,
            };
            build::build(&order, out)?;
        }
        Command::Stage { repo, packages, component } => {
            stage::stage(&repo, &packages, component.as_ref(), out)?;
        }
        Command::Sign { files, key, openpgp, passphrase } => match (key, openpgp) {
            (_, Some(keyid)) => sign::sign_openpgp(&files, &keyid, out)?,
            (Some(key), None) => sign::sign(&files, &key, &passphrase, out)?,
            (None, None) => {}
        },
        Command::Publish { repo, server } => {
            crate::repo::publish(&repo, out)?;
            if server {
                return Ok(Next::Upload(repo));
            }
        }
        Command::List { repo: Some(repo), component } => {
            list::list(&repo, component.as_ref(), out)?;
        }
        Command::List { repo: None, component } => return Ok(Next::Ask(Question::List(component))),
        Command::Show { repo: Some(repo), component, version } => {
            list::show(&repo, &component, &version, out)?;
        }
        Command::Show { repo: None, component, version } => {
            return Ok(Next::Ask(Question::Show(component, version)));
        }
        Command::Graph { repo: Some(repo), component } => list::graph(&repo, &component, out)?,
        Command::Graph { repo: None, component } => {
            return Ok(Next::Ask(Question::Graph(component)));
        }
        Command::Revoke { repo, component, version, reason } => {
            stage::revoke(&repo, &component, &version, &reason, out)?;
        }
        Command::Permit { component, to, agents, reason, valid, out: file } => {
            let asked = sign::AskedPermit { component, to, agents, reason, valid };
            sign::write_permit(asked, &file, out)?;
        }
    }
    Ok(Next::Nothing)
}
