//! The control plane is killed with SIGKILL at random instants while hosts enrol and carry orders
//! out, and while rollouts go through a fleet. No order that was acknowledged is lost, none is
//! executed twice (ADR 12), and no wave is skipped.
//!
//! `SEED=n` repeats a choice of instants, `KILLS=n` kills more often:
//! `KILLS=300 cargo test -p handover-bench --test killed no_order -- --nocapture` and
//! `KILLS=100 cargo test -p handover-bench --test killed no_wave -- --nocapture`; with
//! `DATABASE=postgres` the latter runs on PostgreSQL, where each kill costs a lease's 20 s.

#![expect(clippy::print_stdout, reason = "a test says what it saw")]

mod host;
#[path = "../../src/library.rs"]
mod library;
mod person;
mod rollouts;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_client::dice::Dice;
use handover_client::real_world::{Clock as _, RealClock, draw_seed};
use handover_model::api::{OrderInfo, OrderState};
use handover_model::wire::{Action, LoginToken, Place};
use handover_model::{AgentId, OrderId, Version};
use handover_store::{Options, Store};

use host::Executed;
use person::{Acknowledged, Person};
use server::Server;

/// How many hosts.
const HOSTS: usize = 200;
/// At how many sites they are.
const SITES: usize = 10;
/// How many clients order.
const PEOPLE: usize = 4;
/// How often the server is killed, when nobody says.
const KILLS: u64 = 30;
/// How often each host is ordered something, at least.
const ROUNDS: usize = 3;
/// How many orders may be on their way at once.
const UNDER_WAY: usize = 250;
/// How long a kill waits for work to go on.
const STALLED: Duration = Duration::from_secs(3);

/// What all threads share.
struct Site {
    dir: Utf8PathBuf,
    url: String,
    clock: RealClock,
    deadline: Duration,
    /// The agents, as they enrol.
    hosts: Vec<OnceLock<AgentId>>,
    acknowledged: AtomicUsize,
    executed: AtomicUsize,
    /// Counts what happens on hosts, so that it stands in an order over all of them.
    ticks: AtomicU64,
    /// How many hosts took an order for each version.
    taken: Mutex<BTreeMap<Version, u32>>,
    /// Orders that were handed out to a host that had them.
    again: AtomicUsize,
    /// Requests of people that a kill cut.
    cut: AtomicUsize,
    /// Syncs of hosts that a kill cut.
    unanswered: AtomicUsize,
    /// No more kills.
    quiet: AtomicBool,
    /// Nothing is under way any more.
    done: AtomicBool,
    /// A thread panicked.
    broken: AtomicBool,
}

impl Site {
    fn new(dir: &Utf8Path, server: &Server, deadline: Duration) -> Self {
        Self {
            dir: dir.to_owned(),
            url: server.url(),
            clock: RealClock::start(),
            deadline,
            hosts: (0..HOSTS).map(|_| OnceLock::new()).collect(),
            acknowledged: AtomicUsize::new(0),
            executed: AtomicUsize::new(0),
            ticks: AtomicU64::new(0),
            taken: Mutex::default(),
            again: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            quiet: AtomicBool::new(false),
            done: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    fn is_over(&self) -> bool {
        self.broken.load(Ordering::SeqCst) || self.clock.now().mono > self.deadline
    }

    fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    /// The next tick.
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// How many hosts took an order for each version until now.
    fn taken(&self) -> MutexGuard<'_, BTreeMap<Version, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> usize {
        let executed = self.executed.load(Ordering::SeqCst);
        self.acknowledged.load(Ordering::SeqCst).saturating_sub(executed)
    }

    fn host_root(&self, number: usize) -> Utf8PathBuf {
        self.dir.join(format!("host-{number}"))
    }

    /// A moment before the next look.
    fn breathe() {
        thread::park_timeout(Duration::from_millis(10));
    }

    /// The time that a host leaves a silent server alone.
    fn rest(&self) {
        self.until_or(Duration::from_millis(100), || false);
    }

    fn enrolled(&self) -> usize {
        self.hosts.iter().filter(|host| host.get().is_some()).count()
    }

    /// Waits until `holds`, or the test is over.
    fn until(&self, holds: impl FnMut() -> bool) {
        self.until_or(self.deadline, holds);
    }

    /// Waits until `holds`, `patience` is over, or the test is.
    fn until_or(&self, patience: Duration, mut holds: impl FnMut() -> bool) {
        let until = self.clock.now().mono.saturating_add(patience);
        while !holds() && !self.is_over() && self.clock.now().mono < until {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Ends everybody when one thread panics.
struct Alarm<'s>(&'s Site);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::SeqCst);
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The server of the test below, in a process of its own; nothing in any other.
#[test]
fn the_server_that_is_killed() {
    server::serve_if_asked();
}

#[test]
fn a_server_killed_at_random_instants_loses_no_order_and_none_is_executed_twice() {
    let _alone = alone();
    let (seed, kills) = choice();
    let temporary = tempfile::tempdir().expect("a directory");
    let data = Utf8Path::from_path(temporary.path()).expect("UTF-8").join("data");
    let hosts = hosts_directory();
    let mut server = Server::start(data, None);
    let dir = Utf8Path::from_path(hosts.path()).expect("UTF-8");
    let site = Site::new(dir, &server, Duration::from_secs(240 + 10 * kills));
    let mut dice = Dice::new(seed);
    let (given, orders) = campaign(&site, &mut server, &mut dice, kills);
    let _store = check_database(&server);
    let executed: Vec<_> =
        (0..HOSTS).map(|number| host::executions(&site.host_root(number))).collect();
    judge(&site, &given, &orders, &executed, kills);
}

/// One test at a time: each is as many processes and threads as the machine can bear.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The seed and how many kills there are to be.
fn choice() -> (u64, u64) {
    let kills = from_environment("KILLS").unwrap_or(KILLS);
    let drawn = || u64::from_be_bytes(draw_seed().expect("dice")[..8].try_into().expect("8 bytes"));
    let seed = from_environment("SEED").unwrap_or_else(drawn);
    println!("SEED={seed} KILLS={kills}");
    (seed, kills)
}

/// Hosts are not killed here, so that their files need no disk; the server's are on one.
fn hosts_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_none| tempfile::tempdir()).expect("a directory")
}

/// Everything up to the last order's end: what was acknowledged, and what the server knows.
fn campaign(
    site: &Site,
    server: &mut Server,
    dice: &mut Dice,
    kills: u64,
) -> (Vec<Acknowledged>, Vec<OrderInfo>) {
    site.until(|| server.first_login().is_some());
    let login = login(server);
    let mut person = Person::new(site, &login);
    let tokens: Vec<_> = (0..HOSTS).map(|number| person.token(number)).collect();
    thread::scope(|scope| {
        let _alarm = Alarm(site);
        for (number, token) in tokens.iter().enumerate() {
            scope.spawn(move || {
                let _alarm = Alarm(site);
                host::live(site, number, token);
            });
        }
        let people: Vec<_> = (0..PEOPLE)
            .map(|lane| {
                let mut person = Person::new(site, &login);
                scope.spawn(move || {
                    let _alarm = Alarm(site);
                    person.order_all(lane, PEOPLE, ROUNDS)
                })
            })
            .collect();
        for kill in 0..kills {
            if kill == kills / 5 {
                site.until(|| site.enrolled() == HOSTS);
            }
            wait_for_an_instant(site, dice, 50);
            assert!(!site.is_over(), "it stalls: {}", server.log());
            server.kill();
            server.restart();
        }
        println!("the last kill came after {} executions", site.executed.load(Ordering::SeqCst));
        site.quiet.store(true, Ordering::SeqCst);
        let given = people.into_iter().flat_map(|one| one.join().expect("it goes on")).collect();
        site.until(|| person.open_orders() == 0);
        let orders = person.all_orders();
        site.done.store(true, Ordering::SeqCst);
        // Which also ends every open poll.
        server.kill();
        (given, orders)
    })
}

/// The login that the first start made.
fn login(server: &Server) -> LoginToken {
    let login = server.first_login().unwrap_or_else(|| panic!("no login: {}", server.log()));
    LoginToken::parse(&login).expect("a login")
}

/// One kill in five hits a start, and each may that comes while hosts enrol; the others come
/// after `most` more executions or fewer, and a little later.
fn wait_for_an_instant(site: &Site, dice: &mut Dice, most: u64) {
    let later = Duration::from_micros(dice.between(0, 200_000));
    let in_a_start = dice.between(0, 4) == 0;
    if !in_a_start && site.enrolled() == HOSTS {
        let goal = site.executed.load(Ordering::SeqCst)
            + usize::try_from(dice.between(0, most)).expect("it is small");
        site.until_or(STALLED, || site.executed.load(Ordering::SeqCst) > goal);
    }
    site.until_or(later, || false);
}

fn check_database(server: &Server) -> Store {
    let program = env!("CARGO_PKG_VERSION").parse().expect("a version");
    let options = Options::new(program, RealClock::start().now().wall);
    let store = Store::open(&server.database(), &options).expect("it opens");
    let checked = store.check(&[]).expect("it reads");
    assert!(checked.problems.is_empty(), "{:#?}", checked.problems);
    assert!(checked.audit > 0, "the audit trail was checked");
    println!("database: {} rows, audit chain of {}", checked.rows, checked.audit);
    store
}

/// Holds what was acknowledged, what the server knows and what hosts did against each other.
fn judge(
    site: &Site,
    given: &[Acknowledged],
    orders: &[OrderInfo],
    executed: &[Vec<Executed>],
    kills: u64,
) {
    let known: BTreeMap<OrderId, &OrderInfo> =
        orders.iter().map(|order| (order.id, order)).collect();
    let mut times: BTreeMap<OrderId, usize> = BTreeMap::new();
    for (number, lines) in executed.iter().enumerate() {
        let agent = site.hosts[number].get().expect("every host enrolled");
        let (mut highest, mut tick): (Option<Place>, Option<u64>) = (None, None);
        for line in lines {
            assert!(tick < Some(line.tick), "host {number} did two things at once: {lines:?}");
            tick = Some(line.tick);
            *times.entry(line.order).or_default() += 1;
            assert!(highest < Some(line.place), "host {number} went back to {:?}", line.place);
            highest = Some(line.place);
            let order = known.get(&line.order).expect("the server knows what was executed");
            assert_eq!((&order.agent, order.place), (agent, Some(line.place)), "{order:?}");
            let version = match &order.action {
                Action::Update { to, .. } => to.as_ref(),
                Action::Rollback { .. }
                | Action::Pin { .. }
                | Action::Unpin { .. }
                | Action::ClearQuarantine { .. }
                | Action::Retire
                | Action::Unknown => None,
            };
            assert_eq!(version, line.version.as_ref(), "{order:?}");
        }
    }
    let count = |order: &OrderId| times.get(order).copied().unwrap_or(0);
    let lost: Vec<_> = given.iter().filter(|one| count(&one.order) == 0).collect();
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    let executions: usize = times.values().sum();
    println!(
        "{kills} kills, {HOSTS} hosts, {} orders acknowledged, {executions} executions, {} lost, \
         {} twice; {} requests and {} syncs cut and repeated, {} orders handed out again; {:.1} s",
        given.len(),
        lost.len(),
        twice.len(),
        site.cut.load(Ordering::SeqCst),
        site.unanswered.load(Ordering::SeqCst),
        site.again.load(Ordering::SeqCst),
        site.clock.now().mono.as_secs_f64(),
    );
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert!(twice.is_empty(), "twice: {twice:?}");
    let acknowledged: BTreeSet<OrderId> = given.iter().map(|one| one.order).collect();
    assert_eq!(acknowledged.len(), given.len(), "two wishes are two orders");
    for one in given {
        let order = known.get(&one.order).expect("what was acknowledged is there");
        assert_eq!((order.state, order.agent), (OrderState::Done, one.agent), "{order:?}");
    }
    let cut = orders.iter().filter(|order| !acknowledged.contains(&order.id));
    for order in cut {
        // A pin is put, not posted: one whose answer was cut is put again, as another order.
        assert!(order.action.name() == "pin", "a repeated POST made a second order: {order:?}");
        let ended = matches!(order.state, OrderState::Done | OrderState::Superseded);
        let was_done = order.state == OrderState::Done;
        assert!(ended && count(&order.id) == usize::from(was_done), "{order:?}");
    }
    let updates = given.iter().filter(|one| one.is_update).count();
    assert!(updates > 0 && updates < given.len(), "both kinds were ordered");
}
