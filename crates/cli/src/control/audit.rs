//! `handover audit`: who changed what, and proof that nobody rewrote it.

use std::io::Write as _;

use camino::Utf8PathBuf;
use handover_hoststeps::disk;
use handover_model::api::{AuditRow, Checkpoint, Page, ServerInfo, verify_audit};
use handover_model::wire::SignedDoc;
use handover_trust::control::verify_checkpoint;
use handover_trust::keys::PublicKey;
use serde::{Deserialize as _, Serialize};

use super::api::Api;
use super::{ControlError, Desk, routes, watch};
use crate::output::table;

/// What `audit` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AuditCommand {
    /// List changes, the newest last.
    List {
        /// How many at most, from the end.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Only what this begins with, such as `order.` or `token.create`.
        #[arg(long)]
        what: Option<String>,
    },
    /// Prove that the whole trail hangs together, and with the checkpoints that left the
    /// database. Exits with 6 when it does not.
    Verify {
        /// A trail that was exported, in place of the server's.
        #[arg(long, value_name = "FILE")]
        file: Option<Utf8PathBuf>,
        /// Checkpoints that were kept elsewhere, in place of the server's: a JSON document a line,
        /// as in the server's `checkpoints.jsonl`.
        #[arg(long, value_name = "FILE")]
        checkpoints: Option<Utf8PathBuf>,
    },
    /// Write the whole trail, a JSON document a line.
    Export {
        /// The file; standard output unless said.
        file: Option<Utf8PathBuf>,
    },
}

/// What `verify` found.
#[derive(Debug, Serialize)]
struct Verified {
    rows: u64,
    head: handover_model::Digest,
    checkpoints: usize,
}

/// Runs one.
pub(super) fn run(command: AuditCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    match command {
        AuditCommand::List { limit, what } => {
            let (_, api) = desk.open()?;
            list(&api, limit, what.as_deref(), desk)
        }
        AuditCommand::Verify { file, checkpoints } => {
            verify(file.as_ref(), checkpoints.as_ref(), desk)
        }
        AuditCommand::Export { file } => {
            let (_, api) = desk.open()?;
            export(&api, file, desk)
        }
    }
}

fn all(api: &Api) -> Result<Vec<AuditRow>, ControlError> {
    let mut rows: Vec<AuditRow> = api.list("read the audit trail", routes::AUDIT, None)?;
    rows.sort_by_key(|row| row.seq);
    Ok(rows)
}

/// The last rows. The trail is read from its beginning on, so its end is looked for by halves:
/// rows are numbered without gaps.
fn newest(api: &Api, limit: usize) -> Result<Vec<AuditRow>, ControlError> {
    let exists = |number: u64| -> Result<bool, ControlError> {
        let after = Some(number.saturating_sub(1).to_string());
        let path = routes::query(routes::AUDIT, &[("after", after), ("limit", Some("1".into()))]);
        let page: Page<AuditRow> = api.get("read the audit trail", &path)?;
        Ok(!page.items.is_empty())
    };
    let (mut below, mut above) = (0_u64, 1_u64);
    while exists(above)? {
        (below, above) = (above, above.saturating_mul(2));
    }
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if exists(middle)? {
            below = middle;
        } else {
            above = middle;
        }
    }
    let before = below.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX));
    api.list_after("read the audit trail", routes::AUDIT, Some(before.to_string()), Some(limit))
}

fn list(api: &Api, limit: usize, what: Option<&str>, desk: &Desk<'_>) -> Result<(), ControlError> {
    let mut rows = match what {
        Some(_) => all(api)?,
        None => newest(api, limit)?,
    };
    rows.retain(|row| what.is_none_or(|what| row.what.starts_with(what)));
    let rows = rows.split_off(rows.len().saturating_sub(limit));
    desk.out.result(&rows, |rows| {
        let mut lines = vec![["SEQ", "WHEN", "WHO", "WHAT", "SUBJECT"].map(str::to_owned).to_vec()];
        lines.extend(rows.iter().map(|row| {
            vec![
                row.seq.to_string(),
                watch::clock_time(row.at),
                row.who.clone(),
                row.what.clone(),
                row.subject.clone(),
            ]
        }));
        table(&lines)
    });
    Ok(())
}

fn verify(
    file: Option<&Utf8PathBuf>,
    kept: Option<&Utf8PathBuf>,
    desk: &Desk<'_>,
) -> Result<(), ControlError> {
    let api = match (file, kept) {
        (Some(_), Some(_)) => None,
        (_, _) => Some(desk.open()?.1),
    };
    let rows = match (file, &api) {
        (Some(path), _) => lines_of(path)?,
        (None, Some(api)) => all(api)?,
        (None, None) => Vec::new(),
    };
    let seen: Vec<SignedDoc> = match (kept, &api) {
        (Some(path), _) => lines_of(path)?,
        (None, Some(api)) => api.list("read the checkpoints", routes::CHECKPOINTS, None)?,
        (None, None) => Vec::new(),
    };
    // Files are checked by their chain alone; who asks the server knows the key that signs.
    let key = match &api {
        Some(api) => {
            let server: ServerInfo = api.get("ask for the checkpoint key", routes::SERVER)?;
            PublicKey::deserialize(server.checkpoint_key).ok()
        }
        None => None,
    };
    let checkpoints = checked(&seen, key.as_ref())?;
    let (last, head) = verify_audit(&rows, &checkpoints).map_err(|found| ControlError::Broken {
        what: format!("the audit trail does not hold: {found}; keep the database and its backups"),
    })?;
    let verified = Verified { rows: last, head, checkpoints: checkpoints.len() };
    desk.out.result(&verified, |verified| {
        format!(
            "{} rows hang together and agree with {} checkpoints; head {}",
            verified.rows, verified.checkpoints, verified.head
        )
    });
    Ok(())
}

fn checked(seen: &[SignedDoc], key: Option<&PublicKey>) -> Result<Vec<Checkpoint>, ControlError> {
    let read = |doc: &SignedDoc| {
        if let Some(key) = key {
            let verified = verify_checkpoint(doc, key);
            return verified.map(handover_trust::Verified::into_inner).map_err(|error| {
                ControlError::Broken {
                    what: format!(
                        "a checkpoint of the audit trail is not the server's own: {error}"
                    ),
                }
            });
        }
        let signed = doc.0.get("signed").cloned().unwrap_or_default();
        serde_json::from_value(signed)
            .map_err(|source| ControlError::Answer { act: "read a checkpoint".to_owned(), source })
    };
    seen.iter().map(read).collect()
}

fn lines_of<T: serde::de::DeserializeOwned>(path: &Utf8PathBuf) -> Result<Vec<T>, ControlError> {
    let bytes = crate::secret::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let parse = |line: &str| {
        serde_json::from_str(line)
            .map_err(|source| ControlError::Answer { act: format!("read {path}"), source })
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
}

fn export(api: &Api, file: Option<Utf8PathBuf>, desk: &Desk<'_>) -> Result<(), ControlError> {
    let rows = all(api)?;
    let mut text = String::new();
    for row in &rows {
        let line = serde_json::to_string(row)
            .map_err(|source| ControlError::Answer { act: "write a row".to_owned(), source })?;
        text.push_str(&line);
        text.push('\n');
    }
    match file {
        Some(path) => {
            disk::write(&path, text.as_bytes(), 0o600)?;
            desk.out.say(&format!("wrote {} rows to {path}", rows.len()));
        }
        None => {
            let _gone = std::io::stdout().write_all(text.as_bytes());
        }
    }
    Ok(())
}
