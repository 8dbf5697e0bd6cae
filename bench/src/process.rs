//! What processes cost, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Processor time, user and system, that `root` and its living descendants have used.
pub(crate) fn cpu_of_tree(root: u32) -> anyhow::Result<Duration> {
    let mut family = vec![root];
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // A process that ended meanwhile has nothing to tell.
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid).ok()?))) {
            all.push((pid, stat));
        }
    }
    let mut ticks = 0;
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        next += 1;
        family.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid));
        let found = all.iter().find(|(other, _)| *other == pid);
        ticks += found.map(|(_, stat)| stat.ticks).with_context(|| format!("{pid} is gone"))?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros(ticks * 1_000_000 / per_second))
}

/// Resident memory of a process, in kB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(number.parse()?)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// `proc_pid_stat(5)`: after the name in parentheses, the second field is the parent, the twelfth
/// and thirteenth are the ticks in user and system mode.
fn stat(pid: u32) -> anyhow::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit_once(") ").context("no name")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |at: usize| fields.get(at).copied().context("too few fields");
    Ok(Stat {
        parent: field(1)?.parse()?,
        ticks: field(11)?.parse::<u64>()? + field(12)?.parse::<u64>()?,
    })
}
