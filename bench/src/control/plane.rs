//! A server on a directory of its own, as people start it, and the agents that stand in its
//! database before it starts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use handover_model::api::{ApiTokenInfo, Permission, TokenState};
use handover_model::wire::secret_digest;
use handover_model::{Digest, IdGen, TokenId};
use handover_store::agents::NewAgent;
use handover_store::{Database, Options, Store, StoreError, agents, api_tokens};
use handover_trust::control::state_digest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::Ground;
use crate::fleet::{self, Virtual};
use crate::load::Target;
use crate::process;
use crate::real_world::{timed, wait_until, wall};
use crate::site::end;

/// Agents in one transaction, when a database is prepared.
const TOGETHER: u32 = 2_000;
/// The API token that stands in every prepared database.
const API_SECRET: &str = "benchmark";

/// A directory for a server, with keys and a database.
pub(super) struct Premises {
    directory: tempfile::TempDir,
    program: std::path::PathBuf,
    database: Option<String>,
    repository: Option<Utf8PathBuf>,
    port: u16,
}

/// A server that runs.
pub(super) struct Plane {
    child: Child,
    address: SocketAddr,
    roots: Vec<String>,
    /// How long it took from its start to the first answer.
    pub(super) started_in: Duration,
}

impl Premises {
    /// A directory in which a server was started once: it made keys and schema.
    pub(super) fn new(ground: &Ground, database: Option<String>) -> anyhow::Result<Self> {
        Self::serving(ground, database, None)
    }

    /// The same, serving a repository that is there already.
    pub(super) fn serving(
        ground: &Ground,
        database: Option<String>,
        repository: Option<Utf8PathBuf>,
    ) -> anyhow::Result<Self> {
        let premises = Self {
            directory: tempfile::Builder::new().prefix("handover-bench-").tempdir()?,
            program: ground.programs.join("handover"),
            database,
            repository,
            port: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
        };
        premises.start()?.stop();
        Ok(premises)
    }

    /// Its data directory.
    pub(super) fn data(&self) -> anyhow::Result<Utf8PathBuf> {
        Ok(Utf8Path::from_path(self.directory.path()).context("a UTF-8 path")?.join("data"))
    }

    /// Starts a server; it has answered when this returns.
    pub(super) fn start(&self) -> anyhow::Result<Plane> {
        let mut command = Command::new(&self.program);
        let listen = format!("127.0.0.1:{}", self.port);
        command.args(["server", "--name", "localhost", "--listen", &listen, "--data"]);
        command.arg(self.data()?).env("HANDOVER_LOG", "warn");
        command.arg("--first-token").arg(self.directory.path().join("first-token"));
        if let Some(database) = &self.database {
            command.args(["--database", database]);
        }
        if let Some(repository) = &self.repository {
            command.args(["--repository", repository.as_str()]);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        command.stdout(Stdio::null());
        let (started, started_in) = timed(|| {
            let mut child = command.spawn().context("could not start handover server")?;
            let is_there = wait_until(Duration::from_mins(1), || {
                // The first start makes the keys while it listens already, and all at once.
                let listens = TcpStream::connect(address).is_ok() && self.roots().is_ok();
                listens || matches!(child.try_wait(), Ok(Some(_)))
            });
            let ended = child.try_wait()?;
            ensure!(is_there && ended.is_none(), "the server does not listen: {ended:?}");
            let roots = self.roots()?;
            healthy(address, &roots)?;
            anyhow::Ok((child, roots))
        });
        let (child, roots) = started?;
        Ok(Plane { child, address, roots, started_in })
    }

    /// The database, while no server runs.
    pub(super) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.database()?, &options()?)?)
    }

    /// The database, beside a server.
    pub(super) fn look(&self) -> anyhow::Result<Store> {
        Ok(Store::attach(&self.database()?, &options()?)?)
    }

    fn database(&self) -> anyhow::Result<Database> {
        match &self.database {
            Some(text) => Ok(text.parse()?),
            None => Ok(Database::Sqlite(self.data()?.join("handover.db"))),
        }
    }

    /// The channel's authorities, PEM.
    pub(super) fn roots(&self) -> anyhow::Result<Vec<String>> {
        let mut roots = Vec::new();
        for entry in fs::read_dir(self.data()?.join("keys"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                roots.push(fs::read_to_string(path)?);
            }
        }
        Ok(roots)
    }

    /// Puts virtual agents and an API token into the database, as enrolment and their first
    /// report would have.
    pub(super) fn populate(&self, count: u32) -> anyhow::Result<()> {
        let store = self.store()?;
        let key = serde_json::to_value(fleet::key()?.public())?;
        let state = Arc::new(fleet::state()?);
        let digest = state_digest(&state)?;
        let now = wall();
        let mut from = 0;
        while from < count {
            let upto = (from + TOGETHER).min(count);
            let (key, state) = (key.clone(), Arc::clone(&state));
            store.write_blocking(move |tx| -> Result<(), StoreError> {
                for number in from..upto {
                    let agent = agents::insert(tx, &enrolled(number, &key, &state)?, now)?;
                    agents::put_state(tx, agent, 1, &digest, &state, now)?;
                    agents::acknowledge(tx, agent, 1)?;
                }
                Ok(())
            })?;
            from = upto;
        }
        let id = TokenId::mint(&mut IdGen::new([3; 32]), now);
        store.write_blocking(move |tx| {
            let info = ApiTokenInfo {
                id,
                name: "bench".to_owned(),
                state: TokenState::Open,
                permissions: [Permission::Admin].into(),
                created_by: "bench".to_owned(),
                created_at: now,
                expires: None,
                revoked_at: None,
                generation: 1,
            };
            api_tokens::insert(tx, &info, &secret_digest(API_SECRET))
        })?;
        Ok(())
    }
}

fn options() -> anyhow::Result<Options> {
    Ok(Options::new(env!("CARGO_PKG_VERSION").parse()?, wall()))
}

fn enrolled(
    number: u32,
    key: &serde_json::Value,
    state: &handover_model::wire::HostState,
) -> Result<NewAgent, StoreError> {
    let one = Virtual::of(number);
    let corrupt = |id: String| StoreError::Absent { what: "virtual agent", id };
    let name = format!("host-{number}");
    Ok(NewAgent {
        id: one.id,
        name: name.parse().map_err(|_bad| corrupt(name.clone()))?,
        public_key: key.clone(),
        key_digest: Digest::of(name.as_bytes()),
        secret: secret_digest(&one.secret),
        machine: one.machine,
        session: one.session,
        platform: state.platform.clone(),
        agent_version: state.agent_version.clone(),
        labels: handover_model::Labels::parse(["site=bench"])
            .map_err(|_bad| corrupt(name.clone()))?,
        ephemeral_after: None,
        token: None,
    })
}

impl Plane {
    /// Where to send load.
    pub(super) fn target(&self) -> Target {
        Target { address: self.address, roots: self.roots.clone() }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory, in kB.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        process::resident(self.pid())
    }

    /// Its processor time until now.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu_of_tree(self.pid())
    }

    /// One call of the API: status and body.
    pub(super) fn call(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &str,
    ) -> anyhow::Result<(u16, String)> {
        let head = format!(
            "authorization: Bearer {API_SECRET}\r\nidempotency-key: {key}\r\n\
             content-type: application/json\r\n"
        );
        ask(self.address, &self.roots, &format!("{method} {path}"), &head, body)
    }

    /// Ends it as an operator does.
    pub(super) fn stop(mut self) {
        end(&mut self.child);
    }

    /// Ends it as a power cut would, as far as a process can.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            end(&mut self.child);
        }
    }
}

/// Waits until the server answers that it is healthy.
fn healthy(address: SocketAddr, roots: &[String]) -> anyhow::Result<()> {
    let (status, body) = ask(address, roots, "GET /healthz", "", "")?;
    ensure!(status == 200, "/healthz answers with {status}: {body}");
    Ok(())
}

/// One exchange on a connection of its own.
fn ask(
    address: SocketAddr,
    roots: &[String],
    what: &str,
    head: &str,
    body: &str,
) -> anyhow::Result<(u16, String)> {
    let mut trusted = rustls::RootCertStore::empty();
    for pem in roots {
        trusted.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost")?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name)?;
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    write!(
        stream,
        "{what} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{head}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // Closed without TLS's goodbye, after everything was said.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error.into()),
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}
