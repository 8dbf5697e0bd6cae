//! Why a command that speaks to a control plane failed.

use camino::Utf8PathBuf;
use handover_client::call::CallError;
use handover_hoststeps::HostError;

/// A command that speaks to a control plane, and failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Nobody says where a person's files lie.
    #[error("neither XDG_CONFIG_HOME nor HOME says where contexts are kept; set one")]
    NoHome,
    /// A file operation.
    #[error(transparent)]
    Disk(#[from] HostError),
    /// The contexts can't be read.
    #[error("{path} is damaged; remove it and log in again")]
    DamagedContexts {
        /// The file.
        path: Utf8PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A newer program wrote the contexts.
    #[error("{path} has format {format}, which a newer `handover` wrote; use that one")]
    NewContexts {
        /// The file.
        path: Utf8PathBuf,
        /// Its format.
        format: u32,
    },
    /// Another command changes the contexts.
    #[error("another command is changing {path}; try again in a moment")]
    ContextsBusy {
        /// The file.
        path: Utf8PathBuf,
    },
    /// No context is current.
    #[error(
        "no control plane is chosen: `handover login TOKEN` adds one, `handover context use NAME` \
         chooses one"
    )]
    NotLoggedIn,
    /// There is no such context.
    #[error("there is no context {name:?}; {}", listed(known))]
    NoContext {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The text is not a login token.
    #[error(transparent)]
    Token(#[from] handover_model::wire::TokenError),
    /// A secret that should be read from somewhere could not be.
    #[error("could not read the token from {origin}")]
    ReadToken {
        /// Where it should have come from.
        origin: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that a command is about could not be read.
    #[error("could not read {path}")]
    ReadFile {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No token was given and nobody is there to type one.
    #[error(
        "no token was given and there is no terminal to ask at; give it as an argument, with \
         --token-file, or in {variable}"
    )]
    NoToken {
        /// The variable that may hold it.
        variable: &'static str,
    },
    /// The server that answered is not the one that the token names.
    #[error(
        "{address} is not the server that the token names (its certificates are not pinned); \
         make sure of the address, or get a new token"
    )]
    OtherServer {
        /// Where it was asked.
        address: String,
    },
    /// A secret would go over a connection that anybody can read.
    #[error("{address} is not an https:// address; a secret is sent to no other")]
    Insecure {
        /// The address.
        address: String,
    },
    /// A call failed.
    #[error("could not {act}")]
    Call {
        /// What was tried.
        act: String,
        /// Why not.
        source: CallError,
    },
    /// The server said no, and why.
    #[error("{said} ({code})")]
    Refused {
        /// Its sentence, and the way out.
        said: String,
        /// Its code.
        code: String,
        /// The status.
        status: u16,
    },
    /// The answer is not what this version understands.
    #[error("could not {act}: the server's answer makes no sense to this version")]
    Answer {
        /// What was tried.
        act: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// There is no such thing on the server.
    #[error("no {what} is called {name:?}{}", nearest_of(nearest))]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What is called nearly so.
        nearest: Vec<String>,
    },
    /// The command makes no sense as it was given.
    #[error("{what}")]
    Usage {
        /// What is wrong, and the way out.
        what: String,
    },
    /// Not done, and nothing changed.
    #[error("{what}")]
    Declined {
        /// Why not, and the way out.
        what: String,
    },
    /// What was looked at is not in order.
    #[error("{what}")]
    Broken {
        /// What is wrong, and the way out.
        what: String,
    },
    /// What it shares with repository commands.
    #[error(transparent)]
    Repo(#[from] crate::repo::RepoError),
}

impl ControlError {
    /// The failure of a call, with the server's own words first where it gave some.
    pub(crate) fn call(act: impl Into<String>, source: CallError) -> Self {
        match source {
            CallError::Problem(problem) => Self::Refused {
                said: problem.detail.unwrap_or(problem.title),
                code: problem.code,
                status: problem.status,
            },
            source @ (CallError::Fetch(_)
            | CallError::Meaningless { .. }
            | CallError::Unsendable { .. }) => Self::Call { act: act.into(), source },
        }
    }

    /// A name for programs that keeps its meaning; the server's own where it said no.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::NoHome => "context.no-home",
            Self::Disk(_) => "context.disk",
            Self::DamagedContexts { .. } => "context.damaged",
            Self::NewContexts { .. } => "context.too-new",
            Self::ContextsBusy { .. } => "context.busy",
            Self::NotLoggedIn => "context.none",
            Self::NoContext { .. } => "context.unknown",
            Self::Token(_) => "token.malformed",
            Self::ReadToken { .. } => "token.unreadable",
            Self::ReadFile { .. } => "file.unreadable",
            Self::NoToken { .. } => "token.none",
            Self::OtherServer { .. } => "login.other-server",
            Self::Insecure { .. } => "login.insecure",
            Self::Call { source, .. } => source.code(),
            Self::Refused { code, .. } => code,
            Self::Answer { .. } => "answer.malformed",
            Self::Unknown { .. } => "not-found",
            Self::Usage { .. } => "usage",
            Self::Declined { .. } => "declined",
            Self::Broken { .. } => "broken",
            Self::Repo(error) => error.code(),
        }
    }

    /// The code that docs/exit-codes.md gives it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::DamagedContexts { .. } | Self::NewContexts { .. } | Self::Broken { .. } => 6,
            Self::ReadFile { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 5,
            Self::Disk(_)
            | Self::ReadFile { .. }
            | Self::Call { .. }
            | Self::Answer { .. }
            | Self::ReadToken { .. }
            | Self::Refused { status: 408 | 425 | 429 | 500..=599, .. } => 1,
            Self::ContextsBusy { .. } => 7,
            Self::NoHome
            | Self::NotLoggedIn
            | Self::NoContext { .. }
            | Self::Unknown { .. }
            | Self::Refused { status: 404 | 410, .. } => 5,
            Self::Usage { .. } | Self::NoToken { .. } => 2,
            Self::Token(_)
            | Self::OtherServer { .. }
            | Self::Insecure { .. }
            | Self::Refused { .. }
            | Self::Declined { .. } => 3,
            Self::Repo(error) => error.exit_code(),
        }
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "`handover login TOKEN` adds one".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    }
}

fn nearest_of(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", nearest.join(", "))
    }
}
