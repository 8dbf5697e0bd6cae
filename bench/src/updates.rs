//! Aims 6 to 9: what a host costs, how long an update and a way back take, and whether a request
//! is lost.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use handover_model::Timestamp;
use serde_json::Value;

use crate::process;
use crate::real_world::{timed, wait_until};
use crate::site::{Site, Wanted, end, get, noise, put};
use crate::table::{Row, Samples, ms, ratio};

/// How many updates are timed, and how many run under load.
const UPDATES: usize = 40;
/// How many releases crash, and how many hang.
const BAD: usize = 5;
/// The size of a package.
const SIZE: usize = 10 << 20;
/// How long a hanging release's trial lasts.
const WINDOW: Duration = Duration::from_secs(2);
/// Clients of the run under load.
const CLIENTS: usize = 4;

/// Measures everything that needs a host.
pub(crate) fn measure(programs: &Path) -> anyhow::Result<Vec<Row>> {
    let mut releases = vec![wanted("1.0.0", 1, "", "60s", 0)];
    for number in 1..=2 * UPDATES {
        releases.push(wanted(&format!("1.1.{number}"), releases.len() + 1, "", "60s", SIZE));
    }
    for number in 1..=BAD {
        let crash = ", \"crash_after_ms\": 1";
        releases.push(wanted(&format!("2.0.{number}"), releases.len() + 1, crash, "60s", 0));
    }
    for number in 1..=BAD {
        let hang = ", \"slow_start_ms\": 600000";
        releases.push(wanted(&format!("3.0.{number}"), releases.len() + 1, hang, "2s", 0));
    }
    let site = Site::open(programs, &releases)?;
    let mut rows = vec![footprint(&site)?];
    update(&site, "1.0.0")?;
    rows.push(launcher(&site)?);
    rows.push(swaps(&site)?);
    rows.push(under_load(&site)?);
    rows.extend(ways_back(&site)?);
    Ok(rows)
}

fn wanted(
    version: &str,
    sequence: usize,
    behaviour: &'static str,
    window: &'static str,
    padding: usize,
) -> Wanted {
    Wanted { version: version.to_owned(), sequence, behaviour, window, padding }
}

/// Aim 6: the agent, idle.
fn footprint(site: &Site) -> anyhow::Result<Row> {
    let program = site.program("handover-agent");
    let bytes = fs::metadata(&program)?.len();
    let mut agent = Command::new(&program)
        .args(["--root", "host", "follow"])
        .current_dir(site.path(""))
        .env("RUST_LOG", "off")
        .stderr(Stdio::null())
        .spawn()?;
    // Time for a round: the policy says that updates wait for a person, so it ends with a look.
    wait_until(Duration::from_secs(3), || false);
    let resident = process::resident(agent.id());
    end(&mut agent);
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    wait_until(Duration::from_millis(200), || false);
    let peer = process::resident(sleeper.id())?;
    sleeper.kill()?;
    sleeper.wait()?;
    let resident = resident?;
    Ok(Row {
        what: "agent, idle: binary, resident",
        found: format!("{} kB, {resident} kB", bytes / 1000),
        aim: "≤ 4,000 kB, ≤ 5,000 kB",
        is_met: Some(bytes <= 4_000_000 && resident <= 5_000),
        beside: format!("`sleep`: {peer} kB resident"),
    })
}

fn launcher(site: &Site) -> anyhow::Result<Row> {
    let resident = process::resident(site.launcher())?;
    let bytes = fs::metadata(site.program("handover-launch"))?.len();
    Ok(Row {
        what: "launcher: resident",
        found: format!("{resident} kB"),
        aim: "≤ 1,000 kB",
        is_met: Some(resident <= 1_000),
        beside: format!("its binary: {} kB", bytes / 1000),
    })
}

/// The exit code of a command that finds another at work.
const BUSY: i32 = 7;

/// Runs one update to its end; how long until the new version answered. The update before may
/// still be tidying up: then it is asked for again, and timed from there.
fn update(site: &Site, version: &str) -> anyhow::Result<Duration> {
    loop {
        let (child, took) = timed(|| {
            let mut child = site.begin_update(version)?;
            wait_until(Duration::from_mins(1), || {
                site.answers(version)
                    || matches!(child.try_wait(), Ok(Some(ended)) if !ended.success())
            });
            anyhow::Ok(child)
        });
        let ended = child?.wait_with_output()?;
        if ended.status.code() == Some(BUSY) {
            continue;
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "the update to {version}: {}\n{said}", ended.status);
        ensure!(site.answers(version), "{version} does not answer");
        return Ok(took);
    }
}

/// Aim 7: from the order to the new version's first answer, beside what the disk and a start cost.
fn swaps(site: &Site) -> anyhow::Result<Row> {
    let (mut updates, mut floor) = (Samples::default(), Samples::default());
    let bytes = noise(SIZE);
    for number in 1..=UPDATES {
        updates.0.push(update(site, &format!("1.1.{number}"))?);
        floor.0.push(bare_swap(site, &bytes)?);
    }
    let p99 = updates.at(99);
    Ok(Row {
        what: "fetch, verify, swap, ready; 10 MiB; median and p99",
        found: format!("{} and {}", ms(updates.median()), ms(p99)),
        aim: "p99 ≤ 150 ms",
        is_met: Some(p99 <= Duration::from_millis(150)),
        beside: format!(
            "write 10 MiB, fsync, start the service, first answer: {} and {}; {}",
            ms(floor.median()),
            ms(floor.at(99)),
            ratio(updates.median(), floor.median())
        ),
    })
}

/// What nobody can avoid: the bytes on the disk once, and a start.
fn bare_swap(site: &Site, bytes: &[u8]) -> anyhow::Result<Duration> {
    put(&site.path("bare/behaviour.json"), b"{\"version\": \"bare\", \"schema\": 1}", 0o644)?;
    let path = site.path("bare/file");
    let (child, took) = timed(|| {
        let mut file = File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        start_bare(site)
    });
    end(&mut child?);
    Ok(took)
}

/// Starts the service without a launcher, on a port of its own, until it answers.
fn start_bare(site: &Site) -> anyhow::Result<std::process::Child> {
    let port = site.port.checked_add(1).context("a port")?;
    let child = Command::new(site.program("handover-sample-web"))
        .args(["serve", "--package", "bare", "--state", "bare/state"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .current_dir(site.path(""))
        .spawn()?;
    let answers = wait_until(Duration::from_secs(10), || get(port, "/").is_ok());
    ensure!(answers, "the service does not answer on port {port}");
    Ok(child)
}

/// Aim 8: updates under requests, beside restarts without a launcher.
fn under_load(site: &Site) -> anyhow::Result<Row> {
    let load = Load::start(site.port);
    for number in UPDATES + 1..=2 * UPDATES {
        update(site, &format!("1.1.{number}"))?;
    }
    let (asked, failed, took) = load.finish();
    let mut child = start_bare(site)?;
    let load = Load::start(site.port.checked_add(1).context("a port")?);
    for _ in 0..UPDATES {
        end(&mut child);
        child = start_bare(site)?;
    }
    let (peer_asked, peer_failed, _) = load.finish();
    end(&mut child);
    let rate = u128::from(asked) * 1000 / took.as_millis().max(1);
    Ok(Row {
        what: "requests lost in updates of a service that takes over its socket",
        found: format!("{failed} of {asked} in {UPDATES} updates, at {rate} a second"),
        aim: "0",
        is_met: Some(failed == 0),
        beside: format!(
            "{UPDATES} plain restarts of the same service: {peer_failed} of {peer_asked} lost"
        ),
    })
}

/// Clients that request without pause.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Duration>>,
}

impl Load {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let threads = (0..CLIENTS)
            .map(|_| {
                let (stop, asked, failed) =
                    (Arc::clone(&stop), Arc::clone(&asked), Arc::clone(&failed));
                thread::spawn(move || {
                    let ((), took) = timed(|| {
                        while !stop.load(Ordering::Relaxed) {
                            asked.fetch_add(1, Ordering::Relaxed);
                            if get(port, "/").is_err() {
                                failed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    });
                    took
                })
            })
            .collect();
        Self { stop, asked, failed, threads }
    }

    /// Requests, failures, and how long it went on.
    fn finish(self) -> (u64, u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let took = self.threads.into_iter().filter_map(|one| one.join().ok()).max();
        let counts = (self.asked.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        (counts.0, counts.1, took.unwrap_or_default())
    }
}

/// Aim 9: back after a crash, and after a hang, beside a plain start.
fn ways_back(site: &Site) -> anyhow::Result<Vec<Row>> {
    let mut start = Samples::default();
    for _ in 0..BAD {
        let (child, took) = timed(|| start_bare(site));
        end(&mut child?);
        start.0.push(took);
    }
    let old = format!("1.1.{}", 2 * UPDATES);
    let mut rows = Vec::new();
    for (what, line, aim, from, declared) in [
        ("back after a crash on trial", "2.0", "≤ 1 s", "exited", Duration::ZERO),
        ("back after a hang, beyond its 2 s", "3.0", "≤ 1 s", "started", WINDOW),
    ] {
        let mut samples = Samples::default();
        for number in 1..=BAD {
            let version = format!("{line}.{number}");
            while site.begin_update(&version)?.wait_with_output()?.status.code() == Some(BUSY) {}
            site.wait_for(&old)?;
            // The launcher may write down what it saw a moment after we saw it.
            let mut found = way_back(site, &version, &old, from);
            wait_until(Duration::from_secs(10), || {
                found = way_back(site, &version, &old, from);
                found.is_ok()
            });
            samples.0.push(found?.saturating_sub(declared));
        }
        let worst = samples.at(100);
        rows.push(Row {
            what,
            found: format!("{}, at worst {}", ms(samples.median()), ms(worst)),
            aim,
            is_met: Some(worst <= Duration::from_secs(1)),
            beside: format!(
                "a plain start of the service: {}; {}",
                ms(start.median()),
                ratio(samples.median(), start.median())
            ),
        });
    }
    Ok(rows)
}

/// From the bad version's event to the old version's readiness, as the launcher recorded both.
fn way_back(site: &Site, bad: &str, old: &str, from: &str) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(site.path("host/components/web/launches.jsonl"))?;
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let started = |version: &str| {
        lines
            .iter()
            .rposition(|line| line["event"] == "started" && line["release"]["version"] == version)
    };
    let (tried, back) =
        (started(bad).context("it never started")?, started(old).context("no way back")?);
    let event = |name: &str, pid: &Value, after: usize| {
        let found = lines.iter().skip(after).find(|l| l["event"] == name && l["pid"] == *pid);
        let at = found.and_then(|line| line["at"].as_str()).map(str::parse::<Timestamp>);
        at.and_then(Result::ok).with_context(|| format!("{name} was not recorded"))
    };
    let begin = event(from, &lines[tried]["pid"], tried)?;
    let ready = event("ready", &lines[back]["pid"], back)?;
    Ok(ready.since(begin))
}
