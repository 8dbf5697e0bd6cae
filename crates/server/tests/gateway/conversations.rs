//! Conversations that agents of each supported protocol version had, replayed against today's
//! server. `$name` stands for what an earlier answer said, `$any` for whatever comes, and
//! `{"$sign": …}` for a document that the host signs.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use handover_model::wire::secret_digest;
use handover_trust::control::sign;
use handover_trust::keys::SigningKey;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::rig::{Client, Site};
use crate::said::update;

/// A recorded conversation.
#[derive(Deserialize)]
struct Conversation {
    about: String,
    steps: Vec<Step>,
}

/// One step of it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Step {
    /// The server has a token with this secret; `expired` ones ended before.
    Token { secret: String, expires_in: u64 },
    /// Seconds pass.
    Pass(u64),
    /// A person orders an update of `$agent`.
    Order(String),
    /// The agent asks.
    Ask {
        path: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Value,
        status: u16,
        answer: Value,
    },
}

struct Replay<'s> {
    site: &'s Site,
    client: Client,
    key: SigningKey,
    known: BTreeMap<String, Value>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_conversation_goes_today_as_it_went_then() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let mut count = 0;
    for version in root.read_dir_utf8().unwrap() {
        for file in version.unwrap().path().read_dir_utf8().unwrap() {
            let path = file.unwrap().into_path();
            let text = std::fs::read_to_string(&path).unwrap();
            let conversation: Conversation =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            replay(&path, conversation).await;
            count += 1;
        }
    }
    assert!(count >= 10, "conversations are missing: {count}");
}

async fn replay(path: &Utf8Path, conversation: Conversation) {
    let site = Site::start().await;
    let client = site.connect().await;
    let key = SigningKey::from_seed(Zeroizing::new([7; 32])).unwrap();
    let known = BTreeMap::from([
        ("public_key".to_owned(), serde_json::to_value(key.public()).unwrap()),
        ("pins".to_owned(), json!(site.running().state().ca_pins())),
        ("now".to_owned(), json!(site.now())),
    ]);
    let mut replay = Replay { site: &site, client, key, known };
    for (number, step) in conversation.steps.into_iter().enumerate() {
        let place = format!("{path}, step {}: {}", number + 1, conversation.about);
        replay.step(&place, step).await;
    }
}

impl Replay<'_> {
    async fn step(&mut self, place: &str, step: Step) {
        match step {
            Step::Pass(seconds) => self.site.clock.advance(Duration::from_secs(seconds)),
            Step::Token { secret, expires_in } => {
                self.known.insert("token_digest".to_owned(), json!(secret_digest(&secret)));
                let expires = self.site.now().after(Duration::from_secs(expires_in));
                self.site.token_with(&secret, |info| info.expires = expires).await;
            }
            Step::Order(agent) => {
                let agent = self.known[&agent].as_str().unwrap().parse().unwrap();
                self.site.order(agent, update()).await;
            }
            Step::Ask { path, headers, body, status, answer } => {
                let body = match self.filled(&body) {
                    Value::Null => Vec::new(),
                    Value::String(raw) => raw.into_bytes(),
                    document => serde_json::to_vec(&document).unwrap(),
                };
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.clone(), self.text(value))).collect();
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let method = if body.is_empty() { "GET" } else { "POST" }.parse().unwrap();
                let reply = self.client.call(method, &path, &headers, body).await.unwrap();
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                assert_eq!(reply.status.as_u16(), status, "{place}: {text}");
                let found: Value = serde_json::from_str(&text).unwrap();
                self.compare(place, "", &answer, &found);
            }
        }
    }

    /// Everything that is expected has to be there; what came later may be there too.
    fn compare(&mut self, place: &str, at: &str, wanted: &Value, found: &Value) {
        match wanted {
            Value::String(text) if text == "$any" => {}
            Value::String(text) if text.starts_with("$=") => {
                self.known.insert(text[2..].to_owned(), found.clone());
            }
            Value::Object(fields) => {
                for (name, wanted) in fields {
                    let found = found.get(name).unwrap_or(&Value::Null);
                    self.compare(place, &format!("{at}/{name}"), wanted, found);
                }
            }
            Value::Array(items) => {
                let found = found.as_array().unwrap_or_else(|| panic!("{place}: {at} {found}"));
                assert_eq!(items.len(), found.len(), "{place}: {at} {found:?}");
                for (number, (wanted, found)) in items.iter().zip(found).enumerate() {
                    self.compare(place, &format!("{at}/{number}"), wanted, found);
                }
            }
            _ => assert_eq!(&self.filled(wanted), found, "{place}: {at}"),
        }
    }

    /// A document with names replaced by what they stand for, and signed where it says so.
    fn filled(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => match text.strip_prefix('$') {
                Some(name) => self.known.get(name).cloned().unwrap_or_else(|| json!(text)),
                None => template.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(fields) => match fields.get("$sign") {
                Some(document) => sign(&self.filled(document), &self.key).unwrap().0,
                None => Value::Object(
                    fields
                        .iter()
                        .map(|(name, value)| (name.clone(), self.filled(value)))
                        .collect::<Map<_, _>>(),
                ),
            },
            _ => template.clone(),
        }
    }

    fn text(&self, template: &str) -> String {
        self.known.iter().fold(template.to_owned(), |text, (name, value)| {
            let value = value.as_str().unwrap_or_default();
            text.replace(&format!("${name}"), value)
        })
    }
}
