//! `handover-simulate`: plays fleets and says what broke. `make simulate SEEDS=…`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use handover_simulate::shelf::Shelf;
use handover_simulate::{Ending, play};

/// Plays whole fleets on one thread each, with virtual time, from seeds.
#[derive(Debug, Parser)]
struct Args {
    /// Seeds: `7`, `1..1000` (both included), or several with commas.
    #[arg(long, default_value = "1..100")]
    seeds: String,
    /// Threads; each plays one fleet at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Tell every line of each story.
    #[arg(long)]
    trace: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let seeds = parse_seeds(&args.seeds)?;
    let jobs = if args.trace { 1 } else { args.jobs.clamp(1, 64) };
    let next = AtomicU64::new(0);
    let endings: Mutex<Vec<Ending>> = Mutex::default();
    let failed = std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            let shelf = Shelf::make()?;
            loop {
                let at = usize::try_from(next.fetch_add(1, Ordering::SeqCst))?;
                let Some(seed) = seeds.get(at) else { return Ok(()) };
                let ending = play(*seed, &shelf, args.trace)
                    .with_context(|| format!("seed {seed} could not be played"))?;
                say_if_broken(&ending);
                endings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(ending);
            }
        };
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().find_map(|thread| match thread.join() {
            Ok(done) => done.err(),
            Err(_panic) => Some(anyhow::anyhow!("a fleet panicked; its words are above")),
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let endings = endings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(sum_up(&endings))
}

fn parse_seeds(text: &str) -> anyhow::Result<Vec<u64>> {
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let number = |text: &str| {
            text.trim()
                .parse::<u64>()
                .with_context(|| format!("{text:?} is no seed: write 7 or 1..1000"))
        };
        match part.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
                ensure!(first <= last && last - first < 1_000_000, "{part:?} is no range of seeds");
                seeds.extend(first..=last);
            }
            None => seeds.push(number(part)?),
        }
    }
    Ok(seeds)
}

fn say_if_broken(ending: &Ending) {
    let Some(broken) = &ending.broken else { return };
    let mut out = std::io::stdout().lock();
    // Where nobody listens any more the exit code says it.
    let _ = writeln!(
        out,
        "seed {} breaks: {broken}\n{:#?}\nits last lines:\n{}\nreplay it: make simulate SEEDS={}\n",
        ending.seed, ending.scenario, ending.tail, ending.seed
    );
}

fn sum_up(endings: &[Ending]) -> ExitCode {
    let broken = endings.iter().filter(|ending| ending.broken.is_some()).count();
    let hosts: usize = endings.iter().map(|ending| ending.hosts).sum();
    let lasted: Duration = endings.iter().map(|ending| ending.lasted).sum();
    let mut verdicts = std::collections::BTreeMap::<&str, usize>::new();
    for ending in endings {
        *verdicts.entry(&ending.verdict).or_default() += 1;
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "{} fleets, {hosts} hosts, {:.0} hours of their time: {broken} broken",
        endings.len(),
        lasted.as_secs_f64() / 3600.0
    );
    for (verdict, count) in verdicts {
        let _ = writeln!(out, "  {count:>6}  {verdict}");
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
