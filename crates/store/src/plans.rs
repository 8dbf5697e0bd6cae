//! How the databases find what lists ask for: never by reading all of it.

use camino::Utf8PathBuf;
use handover_model::Timestamp;
use handover_model::api::{AgentState, OrderState, RolloutState};
use handover_testkit::Postgres;

use crate::touch::AgentKey;
use crate::{
    Database, Options, Store, StoreError, Tx, Value, agents, api_tokens, audit, events, orders,
    params, reports, rollouts, tokens,
};

fn agent_filters() -> Vec<agents::Filter> {
    let label = |value: &str| ("site".to_owned(), value.to_owned());
    let version = |text: Option<&str>| {
        let version = text.map(|text| text.parse().unwrap());
        Some(("app".parse().unwrap(), version))
    };
    let all = agents::Filter::default();
    vec![
        all.clone(),
        agents::Filter { with_retired: true, ..all.clone() },
        agents::Filter { state: Some(AgentState::Cloned), ..all.clone() },
        agents::Filter { labels: vec![label("a")], ..all.clone() },
        agents::Filter { labels: vec![label("a"), label("b")], ..all.clone() },
        agents::Filter { component: version(Some("1.0.0")), ..all.clone() },
        agents::Filter { component: version(None), ..all.clone() },
        agents::Filter { name_prefix: Some("web-".to_owned()), ..all.clone() },
        agents::Filter {
            labels: vec![label("a")],
            component: version(Some("1.0.0")),
            state: Some(AgentState::Present),
            name_prefix: Some("web-".to_owned()),
            with_retired: false,
        },
    ]
}

fn order_filters() -> Vec<orders::Filter> {
    let all = orders::Filter::default();
    let agent = Some(AgentKey(7));
    vec![
        all.clone(),
        orders::Filter { agent, ..all.clone() },
        orders::Filter { agent, is_open: true, ..all.clone() },
        orders::Filter { state: Some(OrderState::Pending), ..all.clone() },
        orders::Filter { component: Some("app".parse().unwrap()), ..all.clone() },
        orders::Filter { is_open: true, ..all },
    ]
}

/// Asks everything that pages through what can be large; returns what was asked.
fn ask_all(tx: &mut Tx<'_>) -> Result<Vec<(String, Vec<Value<'static>>)>, StoreError> {
    let now = Timestamp::from_micros(5);
    let (agent, key) = ("agent_018bcfe5687b7fffbfffffffffffffff".parse().unwrap(), AgentKey(7));
    let order = "order_018bcfe5687b7fffbfffffffffffffff".parse().unwrap();
    tx.asked.clear();
    for filter in agent_filters() {
        for after in [None, Some("web-5/5")] {
            agents::list(tx, &filter, after, 100)?;
        }
    }
    for filter in order_filters() {
        orders::list(tx, &filter, Some("1000"), 100)?;
    }
    orders::open_of(tx, key)?;
    orders::overdue(tx, now, 100)?;
    orders::history(tx, order)?;
    let rollout = "rollout_018bcfe5687b7fffbfffffffffffffff".parse().unwrap();
    for filter in [
        events::Filter::All,
        events::Filter::Agent(agent),
        events::Filter::Order(order),
        events::Filter::Rollout(rollout),
    ] {
        events::list(tx, &filter, Some("5"), 100)?;
    }
    events::timeline(tx, agent, Some("50"), 100)?;
    events::range(tx)?;
    audit::list(tx, None, Some("5"), 100)?;
    audit::list(tx, Some("x"), Some("5"), 100)?;
    audit::head(tx)?;
    reports::list(tx, key, None, 100)?;
    reports::newest_state(tx, key)?;
    tokens::list(tx, None, 100, now)?;
    api_tokens::list(tx, None, 100, now)?;
    agents::residents(tx, key, 100)?;
    for filter in [
        rollouts::Filter::default(),
        rollouts::Filter { is_open: true, ..rollouts::Filter::default() },
        rollouts::Filter { state: Some(RolloutState::Done), ..rollouts::Filter::default() },
    ] {
        rollouts::list(tx, &filter, Some("1000"), 100)?;
    }
    rollouts::live(tx)?;
    let rollout = rollouts::RolloutKey(7);
    rollouts::standing(tx, rollout)?;
    rollouts::members(tx, rollout, 0)?;
    rollouts::orders_of(tx, rollout, (-1, 0), 100)?;
    rollouts::order_of_member(tx, rollout, 7)?;
    rollouts::in_flight(tx, rollout, None, &[3])?;
    rollouts::in_flight(tx, rollout, Some(("site", "a")), &[])?;
    rollouts::decays(tx, rollout, None, 100)?;
    // `agents::silent_since` walks through everybody on purpose: an index on what every check-in
    // changes would cost more than its walk.
    Ok(std::mem::take(&mut tx.asked))
}

/// The plan of each statement, as the database tells it.
fn plans(store: &Store, explain: &'static str) -> Vec<(String, String)> {
    let plans: Result<Vec<_>, StoreError> = store.read_blocking(move |tx| {
        let asked = ask_all(tx)?;
        let mut plans = Vec::new();
        for (sql, values) in asked {
            let rows = tx.query(&format!("{explain} {sql}"), &values)?;
            let lines = rows.iter().map(|row| row.get::<String>(row.cells().len() - 1));
            plans.push((sql, lines.collect::<Result<Vec<_>, _>>()?.join("\n")));
        }
        Ok(plans)
    });
    plans.unwrap()
}

fn options() -> Options {
    Options::new("0.1.0".parse().unwrap(), Timestamp::from_micros(0))
}

#[test]
fn no_list_reads_everything_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(directory.path().join("handover.db")).unwrap();
    let store = Store::open(&Database::Sqlite(path), &options()).unwrap();
    for (sql, plan) in plans(&store, "EXPLAIN QUERY PLAN") {
        // A walk from the beginning of an index, in its order, ends with the page.
        let bad = plan.lines().filter(|line| {
            line.contains("TEMP B-TREE") || (line.contains("SCAN") && !line.contains("INDEX"))
        });
        let bad: Vec<_> = bad.filter(|line| *line != "SCAN CONSTANT ROW").collect();
        assert!(bad.is_empty(), "{sql}\n{plan}");
    }
}

#[test]
fn no_list_reads_everything_on_postgresql() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.fresh_database();
    let store = Store::open(&Database::Postgres(url.clone()), &options()).unwrap();
    postgres.psql(&url, FILL);
    let filled: Result<_, StoreError> = store
        .read_blocking(|tx| tx.query_one("SELECT count(*) FROM agents", params![])?.get::<i64>(0));
    assert_eq!(filled.unwrap(), 20_000);
    for (sql, plan) in plans(&store, "EXPLAIN") {
        assert!(!plan.contains("Seq Scan"), "{sql}\n{plan}");
    }
}

/// Enough rows that reading all of them would be a plan's last choice.
const FILL: &str = "
INSERT INTO agents (id, name, state, public_key, key_digest, secret, machine, platform,
    agent_version, labels, facts, components, sequence, acknowledged, generation, created_at,
    changed_at)
  SELECT 'agent_' || lpad(n::text, 32, '0'), 'web-' || n, 'present', '{}', repeat('0', 64),
    repeat('0', 64), repeat('0', 64), 'linux-x86_64', '1.0.0', '{}', '{}', '[]', 0, 0, 1, 0, 0
  FROM generate_series(1, 20000) n;
INSERT INTO presence SELECT key, 5 + key FROM agents;
INSERT INTO agent_labels SELECT key, 'site', chr(97 + (key % 26)::int), name FROM agents;
INSERT INTO agent_components SELECT key, 'app', (key % 40) || '.0.0', 1, NULL, name FROM agents;
INSERT INTO reports SELECT key, 1, 'state', NULL, 0, '{}', 0, 0 FROM agents;
INSERT INTO orders (id, agent, state, action, component, created_by, created_at, expires_at,
    changed_at, ended_at, generation)
  SELECT 'order_' || lpad(n::text, 32, '0'), n, CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'done' END,
    '{\"do\":\"retire\"}', 'app', 'x', n, n, 0, CASE WHEN n % 100 = 0 THEN NULL ELSE 1 END, 1
  FROM generate_series(1, 20000) n;
INSERT INTO order_steps (order_id, at, state) SELECT id, 0, 'pending' FROM orders;
INSERT INTO events (seq, at, kind, agent, order_id, data)
  SELECT n, 0, 'x', 'agent_' || lpad(n::text, 32, '0'), 'order_' || lpad(n::text, 32, '0'), '{}' FROM generate_series(1, 20000) n;
INSERT INTO audit (seq, at, who, what, subject, prev, hash)
  SELECT n, 0, 'x', 'x', 's' || n, repeat('0', 64), repeat('0', 64)
  FROM generate_series(1, 20000) n;
INSERT INTO tokens (id, secret, labels, created_by, created_at, expires_at, generation)
  SELECT 'token_' || lpad(n::text, 32, '0'), n::text, '{}', 'x', 0, 0, 1
  FROM generate_series(1, 20000) n;
INSERT INTO api_tokens (id, secret, name, permissions, created_by, created_at, generation)
  SELECT 'token_' || lpad(n::text, 32, '0'), n::text, 'x', '[]', 'x', 0, 1
  FROM generate_series(1, 20000) n;
INSERT INTO rollouts (id, name, kind, component, spec, state, priority, released, members,
    progress, counts, created_by, created_at, changed_at, ended_at, generation)
  SELECT 'rollout_' || lpad(n::text, 32, '0'), 'r-' || n, '{\"is\":\"update\"}', 'app',
    '{\"name\":\"r\",\"component\":\"app\",\"to\":\"1.0.0\",\"select\":\"all\"}',
    CASE WHEN n % 1000 = 0 THEN 'running' ELSE 'done' END, 50, 0, 0, '{}',
    '{\"members\":0,\"released\":0,\"away\":0,\"exposed\":0,\"running\":0,\"done\":0,\"failed\":0,\"silent\":0,\"refused\":0,\"withdrawn\":0,\"satisfied\":0}',
    'x', 0, 0,
    CASE WHEN n % 1000 = 0 THEN NULL ELSE 1 END, 1
  FROM generate_series(1, 20000) n;
INSERT INTO rollout_members SELECT key, 0, '[]' FROM rollouts;
INSERT INTO rollout_decays SELECT key, 0, 1, 0, 'x', NULL FROM rollouts;
UPDATE orders SET rollout = key % 100 + 1, position = key, attempt = 1;
ANALYZE;
";
