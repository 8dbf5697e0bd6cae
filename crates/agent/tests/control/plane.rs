//! A control plane for tests: real TLS, the wire's own types, and whatever lies a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use handover_agent::real_world::{Clock as _, RealClock};
use handover_model::wire::{
    Action, AgentOrder, Cancel, ChannelCa, EnrolAnswer, EnrolRequest, EnrolToken, Notice,
    OrderReport, OrderStage, Place, Report, ReportBody, SignedDoc, SyncAnswer, SyncRequest,
    secret_digest,
};
use handover_model::{AgentId, Digest, IdGen, Labels, Millis, OrderId, Timestamp};
use handover_trust::control::{OrderKeys, sign, verify_enrolment, verify_report};
use handover_trust::keys::{PublicKey, SigningKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::site::{Site, key};

/// What an agent was enrolled as.
pub(crate) const SECRET: &str = "the-secret-of-the-token";
const BEARER: &str = "the-secret-of-the-agent";

/// Writes an answer of its own instead of the honest one; false lets the honest one through.
pub(crate) type Liar = Box<dyn FnMut(&str, &mut dyn std::io::Write) -> bool + Send>;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) key: Option<PublicKey>,
    pub(crate) enrolled: Vec<EnrolRequest>,
    pub(crate) syncs: Vec<SyncRequest>,
    pub(crate) reports: BTreeMap<u64, Report>,
    pub(crate) orders: Vec<SignedDoc>,
    pub(crate) cancels: Vec<SignedDoc>,
    pub(crate) order_keys: Vec<SignedDoc>,
    pub(crate) ca: Option<SignedDoc>,
    pub(crate) notices: Vec<Notice>,
    /// Laid over every sync answer: fields that nobody knows, clocks that are off.
    pub(crate) over: BTreeMap<String, Value>,
    pub(crate) refusal: Option<(u16, &'static str)>,
    pub(crate) liar: Option<Liar>,
    sequence: u64,
}

/// The control plane of one test.
pub(crate) struct Plane {
    pub(crate) url: String,
    pub(crate) agent: AgentId,
    pub(crate) ca: Vec<String>,
    pins: Vec<Digest>,
    pub(crate) books: Arc<(Mutex<Books>, Condvar)>,
    ids: Mutex<IdGen>,
}

pub(crate) fn now() -> Timestamp {
    RealClock::start().now().wall
}

/// The key that signs orders.
pub(crate) fn order_key() -> SigningKey {
    key(40)
}

struct Certified {
    pem: String,
    pin: Digest,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Certified {
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&pair).unwrap();
    let pin = Digest::of(certificate.der());
    Certified { pem: certificate.pem(), pin, issuer: Issuer::new(params, pair) }
}

fn config(ca: &Certified) -> Arc<ServerConfig> {
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = params.signed_by(&pair, &ca.issuer).unwrap();
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

impl Plane {
    /// A control plane on a loopback port, and the token for a host of `site`.
    pub(crate) fn start(site: &Site) -> (Self, String) {
        let (ca, standby) = (authority(), authority());
        let tls = config(&ca);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut ids = IdGen::new([9; 32]);
        let agent = AgentId::mint(&mut ids, now());
        let books = Arc::new((Mutex::new(Books::default()), Condvar::new()));
        let certificates = vec![ca.pem.clone(), standby.pem.clone()];
        let served = Arc::clone(&books);
        let bundle = certificates.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (tls, books, bundle) = (Arc::clone(&tls), Arc::clone(&served), bundle.clone());
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(tls).unwrap();
                    let mut stream = StreamOwned::new(connection, stream);
                    while answer(&mut stream, agent, &bundle, &books) {}
                });
            }
        });
        let pins = vec![ca.pin, standby.pin];
        let plane = Self { url, agent, ca: certificates, pins, books, ids: Mutex::new(ids) };
        let token = plane.token(site, SECRET);
        (plane, token)
    }

    fn token(&self, site: &Site, secret: &str) -> String {
        let token = EnrolToken {
            urls: vec![self.url.clone()],
            secret: secret.to_owned(),
            pins: self.pins.clone(),
            root: Some(Digest::of(&site.served()["/metadata/1.root.json"])),
            metadata: format!("{}/metadata", site.base),
            targets: format!("{}/targets", site.base),
        };
        token.reveal()
    }

    /// A second token for a host of `site`.
    pub(crate) fn another_token(&self, site: &Site) -> String {
        self.token(site, "another-secret")
    }

    /// Changes or reads the books, and wakes whoever waits for them.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Books) -> T) -> T {
        let out = act(&mut self.books.0.lock().unwrap());
        self.books.1.notify_all();
        out
    }

    /// An order as its signer wrote it, with the next number.
    pub(crate) fn draft(&self, action: Action) -> AgentOrder {
        let at = now();
        let sequence = self.with(|books| {
            books.sequence += 1;
            books.sequence
        });
        AgentOrder {
            type_: AgentOrder::TYPE.to_owned(),
            id: OrderId::mint(&mut self.ids.lock().unwrap(), at),
            agent: self.agent,
            place: Place { epoch: 1, sequence },
            action,
            expect: None,
            issued: at,
            expires: at.after(Duration::from_hours(1)),
            reason: None,
            activate: None,
        }
    }

    /// Orders something; it is handed out until a final report came.
    pub(crate) fn order(&self, action: Action) -> OrderId {
        let order = self.draft(action);
        self.hand_out(&order);
        order.id
    }

    /// Hands out a draft.
    pub(crate) fn hand_out(&self, order: &AgentOrder) {
        let doc = sign(order, &order_key()).unwrap();
        self.with(|books| books.orders.push(doc));
    }

    /// Cancels an order.
    pub(crate) fn cancel(&self, order: OrderId) {
        let cancel =
            Cancel { type_: Cancel::TYPE.to_owned(), agent: self.agent, order, issued: now() };
        let doc = sign(&cancel, &order_key()).unwrap();
        self.with(|books| books.cancels.push(doc));
    }

    /// Everything that was said of an order, in the order in which it was said.
    pub(crate) fn said(&self, order: OrderId) -> Vec<OrderReport> {
        self.with(|books| {
            let reports = books.reports.values().filter_map(|report| match &report.body {
                ReportBody::Order(said) if said.order == order => Some((**said).clone()),
                ReportBody::Order(_) | ReportBody::State(_) => None,
            });
            reports.collect()
        })
    }

    /// Waits for the end of an order.
    pub(crate) fn end_of(&self, order: OrderId) -> OrderReport {
        let mut end = None;
        crate::until(&format!("{order} ends"), || {
            end = self.said(order).into_iter().find(|said| said.stage.is_final());
            end.is_some()
        });
        end.unwrap()
    }

    /// Waits until the agent synced once more from now on, and once after that, so that whatever
    /// an answer brought was taken in.
    pub(crate) fn heard(&self) {
        let before = self.with(|books| books.syncs.len());
        crate::until("two more syncs", || self.with(|books| books.syncs.len() > before + 1));
    }

    /// The newest state that was reported.
    pub(crate) fn state(&self) -> Option<handover_model::wire::HostState> {
        self.with(|books| {
            books.reports.values().rev().find_map(|report| match &report.body {
                ReportBody::State(state) => Some((**state).clone()),
                ReportBody::Order(_) => None,
            })
        })
    }

    /// The keys that sign orders, as enrolment gives them.
    pub(crate) fn first_keys() -> SignedDoc {
        sign(&OrderKeys::new(1, vec![order_key().public()]), &order_key()).unwrap()
    }
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Answers one request of a kept connection; false when it is over.
fn answer(
    stream: &mut Tls,
    agent: AgentId,
    bundle: &[String],
    books: &Arc<(Mutex<Books>, Condvar)>,
) -> bool {
    let Some((head, body)) = read_request(stream) else { return false };
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let liar = books.0.lock().unwrap().liar.take();
    if let Some(mut liar) = liar {
        let lied = liar(&path, stream);
        books.0.lock().unwrap().liar.get_or_insert(liar);
        if lied {
            return false;
        }
    }
    if let Some((status, code)) = books.0.lock().unwrap().refusal {
        let body =
            format!("{{\"code\":\"{code}\",\"title\":\"refused\",\"detail\":\"for a test\"}}");
        let kind = "application/problem+json";
        return respond(stream, &format!("{status} Refused"), kind, body.as_bytes());
    }
    let said = match path.as_str() {
        "/agent/v1/ca" => serde_json::to_value(ChannelCa {
            type_: ChannelCa::TYPE.to_owned(),
            number: 1,
            certificates: bundle.to_vec(),
        }),
        "/agent/v1/enroll" => serde_json::to_value(enrol(&body, agent, books)),
        "/agent/v1/sync" => {
            assert!(head.to_ascii_lowercase().contains(&format!("bearer {BEARER}")), "{head}");
            let mut value = serde_json::to_value(sync(&body, agent, books)).unwrap();
            for (name, over) in &books.0.lock().unwrap().over {
                value[name] = over.clone();
            }
            Ok(value)
        }
        _ => return respond(stream, "404 Not Found", "text/plain", b""),
    };
    let said = serde_json::to_vec(&said.unwrap()).unwrap();
    respond(stream, "200 OK", "application/json", &said)
}

fn enrol(body: &[u8], agent: AgentId, books: &Arc<(Mutex<Books>, Condvar)>) -> EnrolAnswer {
    let request: EnrolRequest = serde_json::from_slice(body).unwrap();
    let key = PublicKey::parse(&serde_json::to_vec(&request.public_key).unwrap()).unwrap();
    let proof = verify_enrolment(&request.proof, &key).unwrap();
    assert_eq!(proof.token, secret_digest(&request.secret));
    let mut held = books.0.lock().unwrap();
    assert!(held.key.as_ref().is_none_or(|before| *before == key), "the token is used");
    held.key = Some(key);
    held.enrolled.push(request);
    EnrolAnswer {
        agent,
        secret: BEARER.to_owned(),
        order_keys: vec![Plane::first_keys()],
        epoch: 1,
        labels: Labels::default(),
        next: Millis(1000),
    }
}

fn sync(body: &[u8], agent: AgentId, books: &Arc<(Mutex<Books>, Condvar)>) -> SyncAnswer {
    let request: SyncRequest = serde_json::from_slice(body).unwrap();
    let mut held = books.0.lock().unwrap();
    held.syncs.push(request.clone());
    let key = held.key.clone().unwrap();
    for doc in &request.reports {
        let report = verify_report(doc, &key, agent).unwrap().into_inner();
        held.reports.entry(report.number).or_insert(report);
    }
    let ended = |books: &Books, doc: &SignedDoc| {
        books.reports.values().any(|report| match &report.body {
            ReportBody::Order(said) => {
                said.stage.is_final() && doc.0["signed"]["id"] == said.order.to_string()
            }
            ReportBody::State(_) => false,
        })
    };
    let wait = request.wait.duration().min(Duration::from_millis(1500));
    let (mut held, _) = books
        .1
        .wait_timeout_while(held, wait, |books| {
            books.orders.iter().all(|doc| ended(books, doc))
                && books.cancels.is_empty()
                && books.liar.is_none()
        })
        .unwrap();
    let orders = held.orders.iter().filter(|doc| !ended(&held, doc)).cloned().collect();
    SyncAnswer {
        at: now(),
        acknowledged: held.reports.keys().next_back().copied().unwrap_or(0),
        orders,
        cancels: std::mem::take(&mut held.cancels),
        want_state: false,
        order_keys: held.order_keys.clone(),
        ca: held.ca.clone(),
        notices: held.notices.clone(),
        next: Millis(1000),
    }
}

fn read_request(stream: &mut Tls) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    let mut reader = BufReader::with_capacity(1, stream);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(count) if count > 0 && line != "\r\n" => head.push_str(&line),
            Ok(count) if count > 0 => break,
            Ok(_) | Err(_) => return None,
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn respond(stream: &mut Tls, status: &str, kind: &str, body: &[u8]) -> bool {
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .and_then(|()| stream.write_all(body))
    .and_then(|()| stream.flush())
    .is_ok()
}

/// Whether a stage says that the order was carried out.
pub(crate) fn is_done(report: &OrderReport) -> bool {
    report.stage == OrderStage::Done
}
