//! A real server on loopback, agents made of nothing but the protocol, and a clock that tests
//! move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_model::api::{OrderState, TokenInfo, TokenState};
use handover_model::wire::{
    Action, EnrolAnswer, EnrolProof, EnrolRequest, HostState, OrderReport, PROTOCOL,
    PROTOCOL_HEADER, Report, ReportBody, SignedDoc, SyncAnswer, SyncRequest, secret_digest,
};
use handover_model::{
    AgentId, Digest, IdGen, Labels, Millis, Now, OrderId, SessionId, Timestamp, TokenId,
};
use handover_server::{Clock, Config, RealClock, Running, Server};
use handover_store::orders::{NewOrder, Order};
use handover_store::{StoreError, agents, events, fleet, orders, tokens};
use handover_testkit::Postgres;
use handover_trust::control::{OrderKeys, first_order_keys, next_order_keys, sign};
use handover_trust::keys::SigningKey;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that tests move forward.
#[derive(Debug)]
pub(crate) struct TestClock {
    real: RealClock,
    ahead_ms: AtomicU64,
}

impl TestClock {
    pub(crate) fn advance(&self, length: Duration) {
        let ms = u64::try_from(length.as_millis()).unwrap();
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst));
        let now = self.real.now();
        Now { wall: now.wall.after(ahead), mono: now.mono + ahead }
    }
}

/// A server with its directory.
pub(crate) struct Site {
    _dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) server: Option<Running>,
    seeds: AtomicU64,
}

impl Site {
    /// One on each database; on SQLite alone where PostgreSQL is not installed.
    pub(crate) async fn on_both() -> Vec<Self> {
        let mut sites = vec![Self::start().await];
        if let Some(postgres) = Postgres::shared() {
            let url = postgres.fresh_database();
            sites.push(Self::start_with(|config| config.database = Some(url)).await);
        }
        sites
    }

    pub(crate) async fn start() -> Self {
        Self::start_with(|_config| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = Utf8PathBuf::from_path_buf(dir.path().join("data")).unwrap();
        let mut config = Config::new(data, SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut config);
        let clock = Arc::new(TestClock { real: RealClock::start(), ahead_ms: AtomicU64::new(0) });
        let mut site = Self { _dir: dir, config, clock, server: None, seeds: AtomicU64::new(1) };
        site.up().await;
        site
    }

    /// Another server on the same database and the same keys.
    pub(crate) async fn replica(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = self.config.clone();
        config.data = Utf8PathBuf::from_path_buf(dir.path().join("data")).unwrap();
        std::fs::create_dir_all(&config.data).unwrap();
        let keys = self.config.data.join("keys");
        std::os::unix::fs::symlink(keys, config.data.join("keys")).unwrap();
        let clock = Arc::clone(&self.clock);
        let seeds = AtomicU64::new(1_000_000);
        let mut site = Self { _dir: dir, config, clock, server: None, seeds };
        site.up().await;
        site
    }

    /// Starts the server, again if it was stopped.
    pub(crate) async fn up(&mut self) {
        let clock = Arc::clone(&self.clock);
        self.server = Some(Server::start_at(self.config.clone(), clock).await.unwrap());
    }

    pub(crate) async fn down(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub(crate) fn running(&self) -> &Running {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    pub(crate) fn ids(&self) -> IdGen {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seeds.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        IdGen::new(seed)
    }

    /// A seed that no other part of this test has.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        let number = self.seeds.fetch_add(1, Ordering::SeqCst);
        Zeroizing::new(*Digest::of(&number.to_be_bytes()).as_bytes())
    }

    /// Makes an enrolment token; its secret.
    pub(crate) async fn token(&self, change: impl FnOnce(&mut TokenInfo)) -> (String, TokenInfo) {
        let secret = hex::encode(self.seed().as_slice());
        let info = self.token_with(&secret, change).await;
        (secret, info)
    }

    /// Makes an enrolment token with that secret.
    pub(crate) async fn token_with(
        &self,
        secret: &str,
        change: impl FnOnce(&mut TokenInfo),
    ) -> TokenInfo {
        let now = self.now();
        let mut info = TokenInfo {
            id: TokenId::mint(&mut self.ids(), now),
            state: TokenState::Open,
            labels: Labels::parse(["site=east"]).unwrap(),
            name: None,
            note: None,
            ephemeral_after: None,
            created_by: "test".to_owned(),
            created_at: now,
            expires: now.after(Duration::from_hours(1)),
            agent: None,
            used_at: None,
            revoked_at: None,
            generation: 1,
        };
        change(&mut info);
        let (stored, digest) = (info.clone(), secret_digest(secret));
        self.running()
            .state()
            .store
            .write(move |tx| tokens::insert(tx, &stored, &digest))
            .await
            .unwrap();
        info
    }

    /// Enrols a host of that name.
    pub(crate) async fn enrol(&self, name: &str) -> Agent {
        let (secret, _info) = self.token(|_| {}).await;
        let mut agent = self.stranger(name, &secret);
        let answer: EnrolAnswer = agent.enrol(self).await.expect_ok();
        agent.take(&answer);
        agent
    }

    /// A host that was not enrolled yet.
    pub(crate) fn stranger(&self, name: &str, token: &str) -> Agent {
        let mut ids = self.ids();
        let now = self.now();
        Agent {
            name: name.to_owned(),
            token: token.to_owned(),
            key: SigningKey::from_seed(self.seed()).unwrap(),
            id: AgentId::mint(&mut ids, now),
            secret: String::new(),
            session: SessionId::mint(&mut ids, now),
            machine: Digest::of(name.as_bytes()),
            number: 0,
            reported: 0,
            order_keys: None,
            ca: 0,
            state: None,
        }
    }

    /// A connection that believes the server's authorities.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self, &self.authorities()).await.unwrap()
    }

    pub(crate) fn authorities(&self) -> Vec<String> {
        self.running().state().ca_pems()
    }

    /// Orders something, as the API does.
    pub(crate) async fn order(&self, agent: AgentId, action: Action) -> OrderId {
        let now = self.now();
        let id = OrderId::mint(&mut self.ids(), now);
        let state = self.running().state();
        let written = state.store.write(move |tx| -> Result<(), StoreError> {
            let agent = agents::get(tx, agent)?.expect("the agent is enrolled");
            let new = NewOrder {
                id,
                agent: agent.key,
                action: action.clone(),
                expect: None,
                reason: Some("test".to_owned()),
                by: "test".to_owned(),
                expires: now.after(Duration::from_hours(1)),
                member: None,
                activate_at: None,
            };
            orders::insert(tx, &new, now)?;
            tell(tx, "order.pending", agent.id, id, now)
        });
        written.await.unwrap();
        id
    }

    /// Stops the fleet or lets it go on, as the API does.
    pub(crate) async fn stop_fleet(&self, stopped: bool, seen: u64) {
        let now = self.now();
        let state = self.running().state();
        let written = state.store.write(move |tx| -> Result<(), StoreError> {
            let stop = fleet::Stop { by: "test".to_owned(), at: now, reason: None };
            fleet::set_stop(tx, stopped, &stop, seen)?;
            let kind = if stopped { "fleet.stopped" } else { "fleet.resumed" };
            let data = Value::Null;
            let (agent, order, rollout) = (None, None, None);
            events::insert(tx, &events::NewEvent { at: now, kind, agent, order, rollout, data })
        });
        written.await.unwrap();
    }

    /// Cancels an order that the agent may have, as the API does.
    pub(crate) async fn cancel(&self, id: OrderId) {
        let now = self.now();
        let state = self.running().state();
        let written = state.store.write(move |tx| -> Result<(), StoreError> {
            let mut order = orders::get(tx, id)?.expect("the order is there");
            order.state = match order.state {
                OrderState::Pending => OrderState::Cancelled,
                _ => OrderState::Cancelling,
            };
            orders::save(tx, &order, now)?;
            tell(tx, "order.cancelling", order.agent_id, id, now)
        });
        written.await.unwrap();
    }

    pub(crate) async fn stored_order(&self, id: OrderId) -> Order {
        let state = self.running().state();
        let found = state.store.read(move |tx| -> Result<_, StoreError> { orders::get(tx, id) });
        found.await.unwrap().unwrap()
    }

    pub(crate) async fn stored_agent(&self, id: AgentId) -> agents::Agent {
        let state = self.running().state();
        let found = state.store.read(move |tx| -> Result<_, StoreError> { agents::get(tx, id) });
        found.await.unwrap().unwrap()
    }

    /// Waits until an agent stands as a test expects.
    pub(crate) async fn until_agent(&self, id: AgentId, holds: impl Fn(&agents::Agent) -> bool) {
        let mut events = self.running().state().events.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.stored_agent(id).await) {
                events.changed().await.expect("the server runs");
            }
        });
        assert!(waited.await.is_ok(), "never came: {:?}", self.stored_agent(id).await);
    }

    /// Waits until an order stands as a test expects.
    pub(crate) async fn until_order(&self, id: OrderId, holds: impl Fn(&Order) -> bool) {
        let mut events = self.running().state().events.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.stored_order(id).await) {
                events.changed().await.expect("the server runs");
            }
        });
        assert!(waited.await.is_ok(), "never came: {:?}", self.stored_order(id).await);
    }

    /// The kinds of an agent's numbered events, oldest first.
    pub(crate) async fn kinds(&self, agent: AgentId) -> Vec<String> {
        let state = self.running().state();
        let filter = events::Filter::Agent(agent);
        let found = state.store.read(move |tx| events::list(tx, &filter, None, 200)).await;
        found.unwrap().items.into_iter().map(|event| event.kind).collect()
    }
}

fn tell(
    tx: &mut handover_store::Tx<'_>,
    kind: &'static str,
    agent: AgentId,
    order: OrderId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let event = events::NewEvent {
        at,
        kind,
        agent: Some(agent),
        order: Some(order),
        rollout: None,
        data: Value::Null,
    };
    events::insert(tx, &event)
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// What the body says; it has to be a success.
    pub(crate) fn expect_ok<T: serde::de::DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem's code; it has to be one, with a sentence.
    pub(crate) fn code(&self) -> String {
        let kind = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.len() > 10), "{problem}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// One kept connection.
pub(crate) struct Client {
    send: SendRequest<Full<Bytes>>,
    pub(crate) certificate: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(site: &Site, authorities: &[String]) -> std::io::Result<Self> {
        let stream = tls(site, authorities).await?;
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (send, connection) =
            handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { send, certificate })
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        self.call(Method::POST, path, headers, body).await.unwrap()
    }

    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> hyper::Result<Reply> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.send.ready().await?;
        let (head, body) = self.send.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }
}

/// A client's clock, which goes as the server's does.
#[derive(Debug)]
struct At(UnixTime);

impl rustls::time_provider::TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// A TLS connection that believes these authorities alone.
pub(crate) async fn tls(
    site: &Site,
    authorities: &[String],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for pem in authorities {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let seconds = u64::try_from(site.now().as_micros() / 1_000_000).unwrap();
    let now = Arc::new(At(UnixTime::since_unix_epoch(Duration::from_secs(seconds))));
    let config = rustls::ClientConfig::builder_with_details(provider, now)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(site.address()).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// An agent made of nothing but the protocol.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) key: SigningKey,
    pub(crate) id: AgentId,
    pub(crate) secret: String,
    pub(crate) session: SessionId,
    pub(crate) machine: Digest,
    pub(crate) number: u64,
    pub(crate) reported: u64,
    pub(crate) order_keys: Option<OrderKeys>,
    pub(crate) ca: u64,
    pub(crate) state: Option<Digest>,
}

impl Agent {
    /// The proof of possession, as it should be.
    pub(crate) fn proof(&self, site: &Site) -> EnrolProof {
        EnrolProof {
            type_: EnrolProof::TYPE.to_owned(),
            token: secret_digest(&self.token),
            name: self.name.parse().unwrap(),
            pins: site.running().state().ca_pins(),
        }
    }

    pub(crate) fn enrolment(&self, proof: &EnrolProof) -> EnrolRequest {
        EnrolRequest {
            secret: self.token.clone(),
            name: self.name.parse().unwrap(),
            public_key: serde_json::to_value(self.key.public()).unwrap(),
            proof: sign(proof, &self.key).unwrap(),
            platform: "linux-x86_64".parse().unwrap(),
            machine: self.machine,
            session: self.session,
            agent_version: "1.0.0".parse().unwrap(),
        }
    }

    pub(crate) async fn enrol(&self, site: &Site) -> Reply {
        self.enrol_with(site, &self.enrolment(&self.proof(site))).await
    }

    pub(crate) async fn enrol_with(&self, site: &Site, request: &EnrolRequest) -> Reply {
        let body = serde_json::to_vec(request).unwrap();
        site.connect().await.post("/agent/v1/enroll", &[protocol()], body).await
    }

    /// Takes what an enrolment answered.
    pub(crate) fn take(&mut self, answer: &EnrolAnswer) {
        self.id = answer.agent;
        self.secret.clone_from(&answer.secret);
        let mut documents = answer.order_keys.iter();
        let mut held = first_order_keys(documents.next().unwrap()).unwrap();
        for document in documents {
            held = next_order_keys(&held, document).unwrap();
        }
        self.order_keys = Some(held.into_inner());
    }

    /// The next request, with nothing in it.
    pub(crate) fn request(&mut self) -> SyncRequest {
        self.number += 1;
        SyncRequest {
            session: self.session,
            number: self.number,
            machine: self.machine,
            agent_version: "1.0.0".parse().unwrap(),
            state: self.state,
            place: None,
            order_keys: self.order_keys.as_ref().map_or(0, |keys| keys.number),
            ca: self.ca,
            reports: Vec::new(),
            wait: Millis(0),
        }
    }

    pub(crate) async fn send(&self, client: &mut Client, request: &SyncRequest) -> Reply {
        let bearer = format!("Bearer {}", self.secret);
        let body = serde_json::to_vec(request).unwrap();
        let headers = [protocol(), ("authorization", bearer.as_str())];
        client.post("/agent/v1/sync", &headers, body).await
    }

    /// One sync with these reports.
    pub(crate) async fn sync(
        &mut self,
        client: &mut Client,
        reports: Vec<SignedDoc>,
    ) -> SyncAnswer {
        let request = SyncRequest { reports, ..self.request() };
        let answer: SyncAnswer = self.send(client, &request).await.expect_ok();
        self.walk(&answer);
        answer
    }

    /// One sync that may be held open.
    pub(crate) async fn poll(&mut self, client: &mut Client, wait: Duration) -> SyncAnswer {
        let request = SyncRequest { wait: Millis::of(wait), ..self.request() };
        let answer: SyncAnswer = self.send(client, &request).await.expect_ok();
        self.walk(&answer);
        answer
    }

    /// Polls until an order comes.
    pub(crate) async fn ordered(&mut self, client: &mut Client) -> SyncAnswer {
        let ordered = async {
            loop {
                let answer = self.poll(client, Duration::from_secs(20)).await;
                if !answer.orders.is_empty() {
                    break answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ordered).await.expect("an order comes")
    }

    /// Takes newer keys, as a host does.
    fn walk(&mut self, answer: &SyncAnswer) {
        for document in &answer.order_keys {
            let held = self.order_keys.clone().unwrap();
            self.order_keys = Some(next_order_keys(&held, document).unwrap().into_inner());
        }
        if let Some(document) = &answer.ca {
            let keys = self.order_keys.as_ref().unwrap();
            let ca = handover_trust::control::verify_channel_ca(document, keys, self.ca).unwrap();
            self.ca = ca.into_inner().number;
        }
    }

    /// Signs the next report.
    pub(crate) fn report(&mut self, site: &Site, body: ReportBody) -> SignedDoc {
        self.reported += 1;
        let report = Report {
            type_: Report::TYPE.to_owned(),
            agent: self.id,
            number: self.reported,
            session: self.session,
            at: site.now(),
            body,
        };
        sign(&report, &self.key).unwrap()
    }

    pub(crate) fn order_report(&mut self, site: &Site, report: OrderReport) -> SignedDoc {
        self.report(site, ReportBody::Order(Box::new(report)))
    }

    pub(crate) fn state_report(&mut self, site: &Site, state: HostState) -> SignedDoc {
        self.state = Some(handover_trust::control::state_digest(&state).unwrap());
        self.report(site, ReportBody::State(Box::new(state)))
    }
}

/// The header that every request of an agent has.
pub(crate) fn protocol() -> (&'static str, &'static str) {
    assert_eq!(PROTOCOL, 1);
    (PROTOCOL_HEADER, "1")
}
