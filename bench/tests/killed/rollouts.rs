//! Rollouts through a fleet of 200 hosts whose server is killed at random instants.
//!
//! What is claimed is held against three witnesses: what the hosts wrote when they executed
//! something, in an order over all of them; what the person was told; and the database.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use camino::Utf8Path;
use handover_client::call::Call;
use handover_client::dice::Dice;
use handover_client::real_world::{Clock as _, RealClock};
use handover_model::api::{
    HoldCode, MemberInfo, MemberOutcome, OrderInfo, OrderState, Page, RolloutInfo, RolloutState,
};
use handover_model::wire::Action;
use handover_model::{AgentId, RolloutId, Timestamp, Version};
use handover_store::Store;
use handover_store::events::{self, Filter};
use handover_testkit::Postgres;
use serde_json::{Value, json};

use crate::host::{self, Executed};
use crate::library;
use crate::person::Person;
use crate::server::Server;
use crate::{Alarm, HOSTS, Site};

/// What is rolled out.
const COMPONENT: &str = "app";
/// Versions that are offered: more than there are rollouts.
const VERSIONS: u32 = 60;
/// At most so many executions lie between a kill and the next, but for chance.
const BETWEEN_KILLS: u64 = 5;

/// What the person did to one rollout, and saw of it.
#[derive(Debug)]
struct Round {
    version: Version,
    /// When each wave but the first was approved, in ticks of the hosts.
    approved: BTreeMap<u32, u64>,
    /// From the answer to a pause to the question to resume.
    paused: Vec<(Timestamp, Timestamp)>,
    /// How often the rollout was looked at.
    looks: u32,
    /// How it stood at the end.
    info: RolloutInfo,
    /// Its members at the end.
    members: Vec<MemberInfo>,
}

#[test]
fn a_rollout_whose_server_is_killed_at_random_instants_skips_no_wave() {
    let _alone = crate::alone();
    let (seed, kills) = crate::choice();
    let temporary = tempfile::tempdir().expect("a directory");
    let data = Utf8Path::from_path(temporary.path()).expect("UTF-8").join("data");
    let versions: Vec<_> = (0..VERSIONS).map(version_of).collect();
    let now = RealClock::start().now().wall;
    let repository = data.join("repository");
    library::lay_out(&repository, COMPONENT, &versions, now).expect("a repository");
    let hosts = crate::hosts_directory();
    let mut server = Server::start(data, database());
    let dir = Utf8Path::from_path(hosts.path()).expect("UTF-8");
    let patience = Duration::from_secs(240 + if database().is_some() { 60 } else { 10 } * kills);
    let site = Site::new(dir, &server, patience);
    let mut dice = Dice::new(seed);
    let (rounds, orders) = campaign(&site, &mut server, &mut dice, kills);
    let store = crate::check_database(&server);
    let executed: Vec<_> =
        (0..HOSTS).map(|number| host::executions(&site.host_root(number))).collect();
    for round in &rounds {
        judge(&site, round, &orders, &executed);
        check_events(&store, round.info.id);
    }
    println!(
        "{kills} kills, {HOSTS} hosts, {} rollouts done, {} executions, each once; {} looks saw \
         no more exposed than released; {} requests and {} syncs cut and repeated, {} orders \
         handed out again; {:.1} s",
        rounds.len(),
        executed.iter().map(Vec::len).sum::<usize>(),
        rounds.iter().map(|round| round.looks).sum::<u32>(),
        site.cut.load(std::sync::atomic::Ordering::SeqCst),
        site.unanswered.load(std::sync::atomic::Ordering::SeqCst),
        site.again.load(std::sync::atomic::Ordering::SeqCst),
        site.clock.now().mono.as_secs_f64(),
    );
}

/// A fresh database of its own, where PostgreSQL is asked for.
fn database() -> Option<String> {
    static MADE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let made = MADE.get_or_init(|| match std::env::var("DATABASE") {
        Ok(kind) if kind == "postgres" => {
            let shared = Postgres::shared().expect("PostgreSQL is installed");
            Some(shared.fresh_database())
        }
        Ok(_) | Err(_) => None,
    });
    made.clone()
}

fn version_of(round: u32) -> String {
    format!("1.{round}.0")
}

/// Rollouts, one after the other, until the kills are over and one more is done.
fn campaign(
    site: &Site,
    server: &mut Server,
    dice: &mut Dice,
    kills: u64,
) -> (Vec<Round>, Vec<OrderInfo>) {
    site.until(|| server.first_login().is_some());
    let login = crate::login(server);
    let mut person = Person::new(site, &login);
    let tokens: Vec<_> = (0..HOSTS).map(|number| person.token(number)).collect();
    let choices = Dice::new(dice.between(0, u64::MAX - 1));
    thread::scope(|scope| {
        let _alarm = Alarm(site);
        for (number, token) in tokens.iter().enumerate() {
            scope.spawn(move || {
                let _alarm = Alarm(site);
                host::live(site, number, token);
            });
        }
        site.until(|| site.enrolled() == HOSTS);
        let mut operator = Person::new(site, &login);
        let operator = scope.spawn(move || {
            let _alarm = Alarm(site);
            roll_out_all(site, &mut operator, choices)
        });
        for _kill in 0..kills {
            crate::wait_for_an_instant(site, dice, BETWEEN_KILLS);
            assert!(!site.is_over(), "it stalls: {}", server.log());
            server.kill();
            server.restart();
        }
        site.quiet.store(true, std::sync::atomic::Ordering::SeqCst);
        let rounds = operator.join().expect("it goes on");
        let orders = person.all_orders();
        site.done.store(true, std::sync::atomic::Ordering::SeqCst);
        // Which also ends every open poll.
        server.kill();
        (rounds, orders)
    })
}

fn roll_out_all(site: &Site, person: &mut Person<'_>, mut dice: Dice) -> Vec<Round> {
    let mut rounds = Vec::new();
    for number in 0..VERSIONS {
        let was_quiet = site.is_quiet();
        rounds.push(roll_out(site, person, number, &mut dice));
        // One that began after the last kill shows that all is well again.
        if was_quiet || site.is_over() {
            return rounds;
        }
    }
    panic!("{VERSIONS} rollouts were done before the last kill");
}

/// One rollout: makes it, approves each wave, pauses it once, looks at it until it is done.
fn roll_out(site: &Site, person: &mut Person<'_>, number: u32, dice: &mut Dice) -> Round {
    let name = format!("round-{number}");
    let version: Version = version_of(number).parse().expect("a version");
    let spec = json!({
        "name": name, "component": COMPONENT, "to": version, "select": "all", "all": true,
        "strategy": { "kind": "staged", "approval": "between" },
    });
    let made = person.post("rollouts", &format!("create-{name}"), &spec);
    let mut info: RolloutInfo = made.json().expect("a rollout");
    let (mut approved, mut paused, mut looks) = (BTreeMap::new(), Vec::new(), 0);
    let pause_at = u32::try_from(dice.between(1, 190)).expect("it is small");
    while info.state != RolloutState::Done {
        assert!(!site.is_over(), "{name} stalls: {info:#?}");
        let approval = info.holds.iter().find(|hold| hold.code == HoldCode::Approval);
        if let Some(wave) = approval.and_then(|hold| hold.wave) {
            approved.entry(wave).or_insert_with(|| site.tick());
            let key = format!("approve-{name}-{wave}");
            person.post(&format!("rollouts/{name}/approve"), &key, &json!({ "wave": wave }));
        }
        let is_due = paused.is_empty() && info.counts.done >= pause_at;
        if is_due && info.state == RolloutState::Running {
            paused.extend(pause(site, person, &name, dice));
        }
        let taken = site.taken().get(&version).copied().unwrap_or(0);
        info = look(person, &name);
        looks += 1;
        let released = info.counts.released;
        assert!(taken <= released, "{taken} hosts had an order, {released} were released");
        assert!(info.counts.exposed <= released, "{info:#?}");
        Site::breathe();
    }
    let members = members(person, &name);
    Round { version, approved, paused, looks, info, members }
}

/// Pauses for a moment, unless it is done meanwhile.
fn pause(
    site: &Site,
    person: &mut Person<'_>,
    name: &str,
    dice: &mut Dice,
) -> Option<(Timestamp, Timestamp)> {
    let path = format!("rollouts/{name}/pause");
    let answered = person.try_post(&path, &format!("pause-{name}"), &json!({}));
    let info: RolloutInfo = match answered {
        Ok(reply) => reply.json().expect("a rollout"),
        Err(error) => {
            let stands = look(person, name).state;
            assert_eq!(stands, RolloutState::Done, "{error}");
            return None;
        }
    };
    let from = site.clock.now().wall;
    assert_eq!(info.state, RolloutState::Paused, "{info:#?}");
    site.until_or(Duration::from_millis(dice.between(50, 400)), || false);
    let upto = site.clock.now().wall;
    person.post(&format!("rollouts/{name}/resume"), &format!("resume-{name}"), &json!({}));
    Some((from, upto))
}

fn look(person: &mut Person<'_>, name: &str) -> RolloutInfo {
    person.ask(&format!("rollouts/{name}"), Call::get).json().expect("a rollout")
}

fn members(person: &mut Person<'_>, name: &str) -> Vec<MemberInfo> {
    let first = format!("rollouts/{name}/members?limit=200");
    let (mut all, mut path) = (Vec::new(), first.clone());
    loop {
        let page: Page<MemberInfo> = person.ask(&path, Call::get).json().expect("a page");
        all.extend(page.items);
        let Some(next) = page.next else { return all };
        path = format!("{first}&after={next}");
    }
}

/// Holds what the rollout says, what the orders say and what the hosts did against each other.
fn judge(site: &Site, round: &Round, orders: &[OrderInfo], executed: &[Vec<Executed>]) {
    let Round { version, info, members, .. } = round;
    assert_eq!(members.len(), HOSTS, "everybody is a member");
    let count = |n: u32| usize::try_from(n).expect("it is small");
    assert_eq!((count(info.counts.done), count(info.counts.members)), (HOSTS, HOSTS), "{info:#?}");
    let known: BTreeMap<_, _> = orders.iter().map(|order| (order.id, order)).collect();
    let ticks = executions_of(site, version, executed);
    for member in members {
        assert_eq!((member.outcome, member.attempt), (MemberOutcome::Done, Some(1)), "{member:?}");
        let (tick, line) = &ticks[&member.agent];
        assert_eq!(member.order, Some(line.order), "{member:?} at {tick}");
        let order = known.get(&line.order).expect("the server knows what was executed");
        let told = (order.state, order.agent, order.place);
        assert_eq!(told, (OrderState::Done, member.agent, Some(line.place)), "{order:?}");
    }
    let of_it = orders.iter().filter(|order| leads_to(order, version));
    assert_eq!(of_it.clone().count(), HOSTS, "an order each, and no other");
    for order in of_it {
        let at = order.created_at;
        let mut pauses = round.paused.iter();
        let broken = pauses.find(|(from, upto)| *from < at && at < *upto);
        assert!(broken.is_none(), "{order:?} was made in the pause {broken:?}");
    }
    check_waves(round, &ticks);
}

fn leads_to(order: &OrderInfo, version: &Version) -> bool {
    matches!(&order.action, Action::Update { to: Some(to), .. } if to == version)
}

/// When and as what each host executed the update to `version`: once.
fn executions_of<'e>(
    site: &Site,
    version: &Version,
    executed: &'e [Vec<Executed>],
) -> BTreeMap<AgentId, (u64, &'e Executed)> {
    let mut ticks = BTreeMap::new();
    for (number, lines) in executed.iter().enumerate() {
        let agent = *site.hosts[number].get().expect("every host enrolled");
        let of_it: Vec<_> =
            lines.iter().filter(|line| line.version.as_ref() == Some(version)).collect();
        assert_eq!(of_it.len(), 1, "host {number} executed {version} so often: {of_it:?}");
        ticks.insert(agent, (of_it[0].tick, of_it[0]));
    }
    ticks
}

/// No host of a wave executed anything before the last one of the wave before had, nor before a
/// person had approved.
fn check_waves(round: &Round, ticks: &BTreeMap<AgentId, (u64, &Executed)>) {
    let mut waves: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for member in &round.members {
        waves.entry(member.wave).or_default().push(ticks[&member.agent].0);
    }
    let sizes: Vec<_> = waves.values().map(Vec::len).collect();
    assert_eq!(sizes, [10, 40, 150], "5, 25 and 100 % of 200");
    let mut before = None;
    for (wave, ticks) in &waves {
        let (first, last) = (ticks.iter().min().copied(), ticks.iter().max().copied());
        assert!(
            before < first,
            "wave {wave} began at {first:?}, the one before ended at {before:?}"
        );
        before = last;
        if *wave > 0 {
            let approved = round.approved.get(wave).copied();
            assert!(approved.is_some() && approved < first, "{wave}: {approved:?}, {first:?}");
        }
    }
}

/// Every order was handed out within what was released, and nothing was released before everybody
/// who was released before was done: in the order in which the events were numbered.
fn check_events(store: &Store, rollout: RolloutId) {
    let (mut released, mut done, mut steps) = (0, BTreeSet::new(), 0);
    let mut after = None;
    loop {
        let from = after.clone();
        let page = store.read_blocking(move |tx| {
            events::list(tx, &Filter::Rollout(rollout), from.as_deref(), 500)
        });
        let page = page.expect("events");
        for event in &page.items {
            let number = |name: &str| event.data.get(name).and_then(Value::as_u64);
            if event.kind == "rollout.released" {
                let (from, until) = (number("from"), number("until").expect("an end"));
                assert_eq!(from, Some(released), "no member is left out: {event:?}");
                assert!((0..released).all(|one| done.contains(&one)), "{event:?} came too early");
                (released, steps) = (until, steps + 1);
            } else if let Some(position) = number("position") {
                assert!(position < released, "{event:?}, and {released} were released");
                if event.kind == "order.done" {
                    assert!(done.insert(position), "{event:?} came twice");
                }
            }
        }
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    // 10 of 10; 10, 20 and 10 of 40; 10, 20, 40 and 80 of 150.
    assert_eq!((released, steps), (200, 8), "the ramp inside the waves");
}
