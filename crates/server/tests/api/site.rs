//! A running server with agents in its database.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use camino::Utf8PathBuf;
use handover_model::wire::{
    ComponentState, HostState, LoginToken, Proof, Report, ReportBody, SignedDoc, secret_digest,
};
use handover_model::{
    AgentId, Digest, Labels, Mode, Platform, ReleaseId, SessionId, Timestamp, Version,
};
use handover_server::{Config, Running, Server};
use handover_store::agents::{self, NewAgent};
use handover_store::{StoreError, reports};
use handover_testkit::Postgres;
use tempfile::TempDir;

use crate::client::Client;

/// A server that runs, and its administrator.
pub(crate) struct Site {
    pub(crate) running: Running,
    pub(crate) admin: Client,
    pub(crate) data: Utf8PathBuf,
    database: Option<String>,
    _directory: TempDir,
}

impl Site {
    /// On SQLite.
    pub(crate) async fn new() -> Self {
        Self::on(None).await
    }

    /// On every database that there is here.
    pub(crate) async fn on_each() -> Vec<Self> {
        let mut sites = vec![Self::new().await];
        if let Some(postgres) = Postgres::shared() {
            sites.push(Self::on(Some(postgres.fresh_database())).await);
        }
        sites
    }

    async fn on(database: Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = Utf8PathBuf::from_path_buf(directory.path().join("data")).unwrap();
        let running = Server::start(config(&data, database.clone())).await.unwrap();
        let login = LoginToken::parse(running.first_login.as_ref().unwrap()).unwrap();
        let admin = Client::new(running.address, &data, Some(login.secret));
        Self { running, admin, data, database, _directory: directory }
    }

    /// The same site after its server stopped, and another one was started.
    pub(crate) async fn restart(self) -> Self {
        self.running.stop().await;
        let running = Server::start(config(&self.data, self.database.clone())).await.unwrap();
        let admin = Client::new(running.address, &self.data, self.admin.token);
        Self { running, admin, ..self }
    }

    /// Someone who may this and nothing else.
    pub(crate) async fn token(&self, permissions: &[&str]) -> Client {
        let body = serde_json::json!({ "name": "someone", "permissions": permissions });
        let made = self.admin.post("/api/v1/api-tokens", &body).await.good();
        let token = LoginToken::parse(made["token"].as_str().unwrap()).unwrap();
        self.admin.with_token(Some(&token.secret))
    }

    /// Every event of that kind, the oldest first.
    pub(crate) async fn events(&self, kind: &'static str) -> Vec<serde_json::Value> {
        let all = self.running.state().store.read(|tx| {
            handover_store::events::list(tx, &handover_store::events::Filter::All, None, 1000)
        });
        let all = all.await.unwrap().items.into_iter().filter(|event| event.kind == kind);
        all.map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    /// Whether it runs on SQLite.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self.running.state().store.database(), handover_store::Database::Sqlite(_))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.running.state().now().wall
    }

    /// An agent that enrolled, and has not reported.
    pub(crate) async fn agent(&self, name: &str) -> AgentId {
        let state = self.running.state();
        let id = state.mint(AgentId::mint);
        let new = NewAgent {
            id,
            name: name.parse().unwrap(),
            public_key: serde_json::json!({}),
            key_digest: Digest::of(name.as_bytes()),
            secret: secret_digest(name),
            machine: Digest::of(name.as_bytes()),
            session: state.mint(SessionId::mint),
            platform: linux(),
            agent_version: version("1.0.0"),
            labels: Labels::parse(["site=ost"]).unwrap(),
            ephemeral_after: None,
            token: None,
        };
        let now = self.now();
        let made =
            state.store.write(move |tx| -> Result<_, StoreError> { agents::insert(tx, &new, now) });
        made.await.unwrap();
        id
    }

    /// An agent that reported these components.
    pub(crate) async fn agent_with(&self, name: &str, components: Vec<ComponentState>) -> AgentId {
        let id = self.agent(name).await;
        self.report(id, 1, name, components).await;
        id
    }

    /// What an agent's state report leaves behind.
    pub(crate) async fn report(
        &self,
        id: AgentId,
        number: u64,
        name: &str,
        components: Vec<ComponentState>,
    ) {
        let now = self.now();
        let host = HostState {
            name: name.parse().unwrap(),
            platform: linux(),
            agent_version: version("1.0.0"),
            boot: "b".to_owned(),
            facts: Labels::default(),
            components,
        };
        let report = Report {
            type_: Report::TYPE.to_owned(),
            agent: id,
            number,
            session: self.running.state().mint(SessionId::mint),
            at: now,
            body: ReportBody::State(Box::new(host.clone())),
        };
        let digest = Digest::of(&number.to_be_bytes());
        let document = SignedDoc(serde_json::json!({ "signatures": [], "signed": report.clone() }));
        let done = self.running.state().store.write(move |tx| -> Result<_, StoreError> {
            let agent = agents::get(tx, id)?.unwrap();
            reports::keep(tx, agent.key, &report, &document, now)?;
            agents::put_state(tx, agent.key, number, &digest, &host, now)
        });
        done.await.unwrap();
    }

    /// Waits until the sequencer has numbered everything.
    pub(crate) async fn number(&self) {
        let waits = "SELECT (SELECT count(*) FROM events WHERE seq IS NULL) \
             + (SELECT count(*) FROM audit WHERE seq IS NULL)";
        let numbered = async {
            loop {
                let read = self.running.state().store.read(move |tx| -> Result<u64, StoreError> {
                    tx.query_one(waits, &[])?.get(0)
                });
                if read.await.unwrap() == 0 {
                    return;
                }
            }
        };
        let limit = std::time::Duration::from_secs(10);
        tokio::time::timeout(limit, numbered).await.expect("the sequencer keeps up");
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

fn config(data: &Utf8PathBuf, database: Option<String>) -> Config {
    let mut config = Config::new(data.clone(), SocketAddr::from(([127, 0, 0, 1], 0)));
    config.names = vec!["localhost".to_owned()];
    config.database = database;
    config.limits.requests_per_second = 10_000;
    config.limits.enrolments_per_second = 10_000;
    config.limits.downloads = 4;
    // A client that thinks for long between two requests on one connection finds it open.
    config.limits.head = std::time::Duration::from_mins(2);
    config
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(crate) fn linux() -> Platform {
    "linux-x86_64".parse().unwrap()
}

/// A release of `component` whose package is the text `component version`.
pub(crate) fn release(component: &str, number: &str) -> ReleaseId {
    let digest = Digest::of(format!("{component} {number}").as_bytes());
    ReleaseId { version: version(number), digest }
}

/// A component as a healthy host reports it.
pub(crate) fn component(name: &str, number: &str, sequence: u64) -> ComponentState {
    let current = release(name, number);
    ComponentState {
        component: name.parse().unwrap(),
        current: Some(current.clone()),
        sequence: Some(sequence),
        proof: Some(Proof {
            release: current,
            executable: Digest::of(b"exe"),
            proved: true,
            pid: 7,
            ready: true,
            boot: "b".to_owned(),
        }),
        trial: None,
        previous: Vec::new(),
        quarantine: Vec::new(),
        mode: Mode::Manual,
        channel: "stable".to_owned(),
        pin: None,
        control_pin: None,
        floor: Some(version("1.0.0")),
        outlook: None,
    }
}

/// Nothing but texts.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;
