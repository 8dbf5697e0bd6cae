//! A person's client: it asks until it is answered, as `handover` does, with the same
//! `Idempotency-Key` for the same wish.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use handover_agent::control::channel::fetch_ca;
use handover_agent::control::identity::roots_of;
use handover_client::call::{Call, CallError, Method, Reply, Sent};
use handover_client::fetch::{Fetcher, Options};
use handover_client::real_world::Clock;
use handover_model::api::{IDEMPOTENCY_KEY, OrderInfo, Page, PinInfo, TokenCreated};
use handover_model::wire::LoginToken;
use handover_model::{AgentId, ErrorClass, OrderId};
use serde_json::{Value, json};

use crate::Site;

/// An order that the control plane acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) order: OrderId,
    pub(crate) agent: AgentId,
    pub(crate) is_update: bool,
}

/// One client.
pub(crate) struct Person<'s> {
    site: &'s Site,
    login: LoginToken,
    connected: Option<Fetcher>,
}

impl<'s> Person<'s> {
    pub(crate) fn new(site: &'s Site, login: &LoginToken) -> Self {
        Self { site, login: login.clone(), connected: None }
    }

    /// Makes an enrolment token for a host; the one word.
    pub(crate) fn token(&mut self, number: usize) -> String {
        let body = json!({ "labels": { "site": format!("site-{}", number % crate::SITES) } });
        let made = self.post("tokens", &format!("token-{number}"), &body);
        made.json::<TokenCreated>().expect("a token").token
    }

    /// Orders until the kills are over, and everyone was ordered something `rounds` times.
    pub(crate) fn order_all(
        &mut self,
        lane: usize,
        people: usize,
        rounds: usize,
    ) -> Vec<Acknowledged> {
        let site = self.site;
        let mut given = Vec::new();
        for round in 0.. {
            for number in (lane..site.hosts.len()).step_by(people) {
                if site.is_over() || (round >= rounds && site.is_quiet()) {
                    return given;
                }
                site.until(|| site.under_way() < crate::UNDER_WAY);
                site.until(|| site.hosts[number].get().is_some());
                let Some(agent) = site.hosts[number].get() else { return given };
                given.push(self.order(*agent, number, round));
                site.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        }
        given
    }

    /// Every component is new to the host, so that no order stands in another's way.
    fn order(&mut self, agent: AgentId, number: usize, round: usize) -> Acknowledged {
        let is_update = (number + round) % 4 != 3;
        let component = format!("app-{round}");
        let order = if is_update {
            let body = json!({ "component": component, "to": format!("1.{round}.0") });
            let key = format!("update-{number}-{round}");
            let path = format!("agents/{agent}/update");
            self.post(&path, &key, &body).json::<OrderInfo>().expect("an order").id
        } else {
            let path = format!("agents/{agent}/pins/{component}");
            let body = serde_json::to_vec(&json!({ "pin": ">=1, <2" })).expect("JSON");
            let call =
                |url: String| Call::new(Method::Put, url).with_body(Sent::Json(body.clone()));
            let info: PinInfo = self.ask(&path, call).json().expect("a pin");
            info.order.expect("a pin that is set has its order")
        };
        Acknowledged { order, agent, is_update }
    }

    /// How many orders are open, as far as one page shows.
    pub(crate) fn open_orders(&mut self) -> usize {
        let page = self.ask("orders?open=true&limit=1", Call::get);
        page.json::<Page<Value>>().expect("a page").items.len()
    }

    /// Every order that the control plane knows.
    pub(crate) fn all_orders(&mut self) -> Vec<OrderInfo> {
        let (mut all, mut path) = (Vec::new(), "orders?limit=200".to_owned());
        loop {
            let page: Page<OrderInfo> = self.ask(&path, Call::get).json().expect("a page");
            all.extend(page.items);
            let Some(next) = page.next else { return all };
            path = format!("orders?limit=200&after={next}");
        }
    }

    /// Posts a wish; repeated under the same key until there is an answer.
    pub(crate) fn post(&mut self, path: &str, key: &str, body: &Value) -> Reply {
        self.try_post(path, key, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same, for one that may be refused.
    pub(crate) fn try_post(
        &mut self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Reply, CallError> {
        let body = serde_json::to_vec(body).expect("JSON");
        let call = |url| Call::post(url, body.clone()).with_header(IDEMPOTENCY_KEY, key);
        self.try_ask(path, call)
    }

    /// Asks until there is an answer.
    pub(crate) fn ask(&mut self, path: &str, call: impl Fn(String) -> Call) -> Reply {
        self.try_ask(path, call).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Asks until there is an answer, or a refusal.
    fn try_ask(&mut self, path: &str, call: impl Fn(String) -> Call) -> Result<Reply, CallError> {
        loop {
            match self.try_once(call(format!("{}/api/v1/{path}", self.site.url))) {
                Err(error) if may_pass(&error) => {
                    self.connected = None;
                    self.site.cut.fetch_add(1, Ordering::SeqCst);
                    assert!(!self.site.is_over(), "{path} was never answered: {error}");
                    Site::breathe();
                }
                answered => return answered,
            }
        }
    }

    fn try_once(&mut self, call: Call) -> Result<Reply, CallError> {
        let clock: Arc<dyn Clock> = Arc::new(self.site.clock);
        let fetcher = if let Some(fetcher) = self.connected.take() {
            fetcher
        } else {
            let roots = roots_of(&fetch_ca(&self.site.url, &clock)?);
            let options = Options { roots, ..Options::default() };
            Fetcher::with(&self.site.url, &options, clock)?
        };
        let reply = fetcher.call(call.with_bearer(&self.login.secret))?;
        self.connected = Some(fetcher);
        Ok(reply)
    }
}

/// Whether a server that was killed, or has just started, may be the reason.
pub(crate) fn may_pass(error: &CallError) -> bool {
    match error {
        CallError::Fetch(_) | CallError::Meaningless { .. } => true,
        CallError::Problem(problem) => problem.class() == ErrorClass::Retry,
        CallError::Unsendable { .. } => false,
    }
}
