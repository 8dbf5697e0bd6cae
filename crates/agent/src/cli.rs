//! The command line of `handover-agent`.

use camino::Utf8PathBuf;
use clap::{Parser, Subcommand, ValueEnum};
use handover_model::{AgentName, ComponentName, Pin, Version};

/// Follows a signed repository and keeps this host's components at the releases that it may run.
#[derive(Debug, Parser)]
#[command(name = "handover-agent", version, max_term_width = 80)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused and nothing changed, \
    4 tried and reverted, 5 not found, 6 a file of this host is damaged, 7 busy.")]
pub struct Cli {
    /// The host's root directory.
    #[arg(long, global = true, env = "HANDOVER_ROOT", default_value = "/var/lib/handover")]
    pub root: Utf8PathBuf,
    /// How data is printed.
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
    /// How the log on standard error is written; `RUST_LOG` says how much of it.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs; fields are only ever added.
    Json,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set this host up to follow a repository.
    Init {
        /// The repository's base address, which has `metadata/` and `targets/` below it.
        #[arg(long, value_name = "URL")]
        repository: String,
        /// The base address of the packages, where it is another one.
        #[arg(long, value_name = "URL")]
        targets: Option<String>,
        /// The repository's root.json, brought here by a way that you trust.
        #[arg(long, value_name = "FILE")]
        trusted_root: Utf8PathBuf,
        /// This host's name in permits and reports.
        #[arg(long)]
        name: AgentName,
        /// Components to follow from the start; more are added in policy.yaml.
        #[arg(long, value_name = "COMPONENT")]
        component: Vec<ComponentName>,
    },
    /// Make this host an agent of a control plane: everything that `init` does, and enrolment.
    Enroll {
        /// The token (`hoe1_…`). Other users of this machine can see it while the command runs:
        /// prefer --token-file or the environment.
        #[arg(env = "HANDOVER_TOKEN", hide_env_values = true)]
        token: Option<String>,
        /// A file that holds the token; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        token_file: Option<Utf8PathBuf>,
        /// This host's name, where there is no policy.yaml yet; its host name where left out.
        #[arg(long)]
        name: Option<AgentName>,
        /// The repository's root.json, brought here by a way that you trust: then not even the
        /// first step rests on the control plane's word.
        #[arg(long, value_name = "FILE")]
        trusted_root: Option<Utf8PathBuf>,
        /// Another address of the control plane than the token's.
        #[arg(long, value_name = "URL")]
        server: Option<String>,
        /// Enrol a host that is enrolled already, as another agent: after it was cloned.
        #[arg(long)]
        again: bool,
    },
    /// Follow the repository: the service.
    Follow {
        /// One round only, and wait until the host settled.
        #[arg(long)]
        once: bool,
    },
    /// Show what would happen now, and why. Changes nothing but repository metadata.
    Check,
    /// Update a component now, whatever mode and windows say.
    Update {
        /// The component.
        name: ComponentName,
        /// To this version instead of the newest.
        #[arg(long, value_name = "VERSION")]
        to: Option<Version>,
        /// A permit for going back, signed by release keys.
        #[arg(long, value_name = "FILE")]
        permit: Option<Utf8PathBuf>,
    },
    /// Go back to a release that is kept on this host. Needs no network.
    Rollback {
        /// The component.
        name: ComponentName,
        /// To this version instead of the last good one.
        #[arg(long, value_name = "VERSION")]
        to: Option<Version>,
        /// A permit, for going back below this host's floor.
        #[arg(long, value_name = "FILE")]
        permit: Option<Utf8PathBuf>,
    },
    /// Show what runs, what is kept and what is under way, by looking.
    Status,
    /// Say why a component does not move, or where it moves.
    Explain {
        /// The component.
        name: ComponentName,
    },
    /// Find what is wrong with this host's files.
    Doctor {
        /// Mend what can be mended without losing anything.
        #[arg(long)]
        mend: bool,
    },
    /// Allow only one version of a component, or a range.
    Pin {
        /// The component.
        name: ComponentName,
        /// A version (1.4.0) or a range (">=1.2, <2").
        pin: Pin,
    },
    /// Take a pin away again.
    Unpin {
        /// The component.
        name: ComponentName,
    },
    /// Components of this host.
    Component {
        /// What to do.
        #[command(subcommand)]
        command: ComponentCommand,
    },
    /// Releases that failed on this host.
    Quarantine {
        /// What to do.
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Start a program in a session of its own. For this program itself.
    #[command(hide = true)]
    Stage {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

/// What to do with components.
#[derive(Debug, Subcommand)]
pub enum ComponentCommand {
    /// Install a version of a component, following the component from now on.
    Apply {
        /// The component.
        name: ComponentName,
        /// The version.
        version: Version,
    },
    /// List the components of this host.
    List,
}

/// What to do with quarantine.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Let a release be tried again.
    Clear {
        /// The component.
        name: ComponentName,
        /// Only this version; all of them where it is left out.
        version: Option<Version>,
    },
}
