//! Runs a program with everything that it starts under `ptrace(2)`, writes down each call that
//! makes something durable, and injects one fault at one of them.
//!
//! What `strace --inject` does, with one difference that the campaign needs: calls are counted per
//! role (agent, entrypoint, watcher, launcher) over all processes and threads of it, so that a
//! fault hits the watcher alone although agent and entrypoint start it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use camino::Utf8PathBuf;
use clap::Args;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options as Trace};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::points::{Fault, Point, Role};
use crate::dist::put;
use crate::wait;

/// What to run and which fault to inject.
#[derive(Args)]
pub(crate) struct Options {
    /// Where calls are written down, one JSON object a line.
    #[arg(long)]
    log: Utf8PathBuf,
    /// A file that is made when the program itself has ended, with its exit code in it.
    #[arg(long)]
    ended: Option<Utf8PathBuf>,
    /// Whose call the fault hits; without it calls are only counted.
    #[arg(long, value_enum, requires = "nth", requires = "fault")]
    role: Option<Role>,
    /// Which of the role's calls it is, from 1.
    #[arg(long)]
    nth: Option<u32>,
    /// What happens there.
    #[arg(long, value_enum)]
    fault: Option<Fault>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<String>,
}

/// Runs the program to its end, and until nothing that it started is left.
///
/// # Errors
/// When it can't be traced.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut tracer = Tracer::start(options)?;
    while let Some(status) = next()? {
        tracer.handle(status)?;
    }
    Ok(ExitCode::from(tracer.code))
}

/// The next thing that happened to any tracee; `None` when none is left.
fn next() -> anyhow::Result<Option<WaitStatus>> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::__WALL)) {
            Ok(status) => return Ok(Some(status)),
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(None),
            Err(other) => return Err(other).context("wait for a traced process"),
        }
    }
}

struct Tracer {
    main: Pid,
    code: u8,
    ended: Option<Utf8PathBuf>,
    log: File,
    target: Option<(Role, u32, Fault)>,
    counts: BTreeMap<Role, u32>,
    threads: BTreeMap<Pid, Thread>,
}

/// A traced thread.
#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    role: Option<Role>,
    /// What happens when the call that it is in returns.
    pending: Option<Fault>,
}

impl Tracer {
    fn start(options: &Options) -> anyhow::Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&options.log)
            .with_context(|| format!("open {}", options.log))?;
        // The child stops itself before it becomes the program, so that we are there in time.
        let child = Command::new("/bin/sh")
            .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
            .args(&options.program)
            .stdin(Stdio::null())
            .spawn()
            .context("start a shell")?;
        let main = Pid::from_raw(i32::try_from(child.id()).context("a process id is small")?);
        wait::until("the program to be ready for tracing", Duration::from_secs(10), || {
            let stat =
                fs::read_to_string(format!("/proc/{main}/stat")).map_err(|e| e.to_string())?;
            if stat.contains(") T ") { Ok(()) } else { Err(stat) }
        })?;
        let trace = Trace::PTRACE_O_TRACESYSGOOD
            | Trace::PTRACE_O_TRACEFORK
            | Trace::PTRACE_O_TRACEVFORK
            | Trace::PTRACE_O_TRACECLONE
            | Trace::PTRACE_O_TRACEEXEC
            | Trace::PTRACE_O_EXITKILL;
        ptrace::seize(main, trace).context("trace the program")?;
        kill(main, Signal::SIGCONT).context("continue the program")?;
        let target = match (options.role, options.nth, options.fault) {
            (Some(role), Some(nth), Some(fault)) => Some((role, nth, fault)),
            _ => None,
        };
        let threads = BTreeMap::from([(main, Thread::default())]);
        let ended = options.ended.clone();
        Ok(Self { main, code: 1, ended, log, target, counts: BTreeMap::new(), threads })
    }

    fn handle(&mut self, status: WaitStatus) -> anyhow::Result<()> {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, u8::try_from(code).unwrap_or(1))?,
            WaitStatus::Signaled(pid, signal, _) => {
                self.ended(pid, u8::try_from(128 + signal_number(signal)).unwrap_or(1))?;
            }
            WaitStatus::PtraceSyscall(pid) => {
                if self.at_call(pid)? {
                    resume(pid, None);
                }
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.at_event(pid, event);
                resume(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => resume(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
        Ok(())
    }

    fn ended(&mut self, pid: Pid, code: u8) -> anyhow::Result<()> {
        self.threads.remove(&pid);
        if pid == self.main {
            self.code = code;
            // The tracer stays for what the program left behind, but others may wait for this.
            if let Some(path) = &self.ended {
                put(path, &code.to_string(), 0o644)?;
            }
        }
        Ok(())
    }

    /// A thread has begun, or became another program.
    fn at_event(&mut self, pid: Pid, event: i32) {
        let role_now = || role_of(pid);
        match event {
            libc::PTRACE_EVENT_EXEC => {
                self.threads.insert(pid, Thread { role: role_now(), pending: None });
            }
            libc::PTRACE_EVENT_STOP => {
                self.threads
                    .entry(pid)
                    .or_insert_with(|| Thread { role: role_now(), pending: None });
            }
            _ => {}
        }
    }

    /// A thread enters or leaves a call. Answers whether it is still there to be resumed.
    fn at_call(&mut self, pid: Pid) -> anyhow::Result<bool> {
        let Ok(mut registers) = ptrace::getregs(pid) else { return Ok(false) };
        let thread = *self.threads.entry(pid).or_default();
        // On entry the kernel has put -ENOSYS where the result will be (ptrace(2)); a call that we
        // skipped leaves it there.
        let entering = thread.pending.is_none() && registers.rax == error(Errno::ENOSYS);
        if !entering {
            let Some(fault) = thread.pending else { return Ok(true) };
            self.threads.insert(pid, Thread { pending: None, ..thread });
            let errno = match fault {
                Fault::Kill | Fault::KillAfter => return end(pid),
                Fault::Enospc => Errno::ENOSPC,
                Fault::Eio => Errno::EIO,
            };
            registers.rax = error(errno);
            return Ok(ptrace::setregs(pid, registers).is_ok());
        }
        let (Some(role), Some(call)) = (thread.role, durable(registers.orig_rax)) else {
            return Ok(true);
        };
        let nth = self.counts.entry(role).or_default();
        *nth += 1;
        let nth = *nth;
        let fault = self.target.filter(|t| (t.0, t.1) == (role, nth)).map(|t| t.2);
        let path = path_of(pid, call, &registers);
        self.write_down(&Point { role, nth, call: call.to_owned(), path, fault })?;
        match fault {
            None => Ok(true),
            Some(Fault::Kill) => end(pid),
            Some(fault @ Fault::KillAfter) => {
                self.threads.insert(pid, Thread { pending: Some(fault), ..thread });
                Ok(true)
            }
            Some(fault @ (Fault::Enospc | Fault::Eio)) => {
                self.threads.insert(pid, Thread { pending: Some(fault), ..thread });
                // A call number that does not exist: nothing happens, and we choose the answer.
                registers.orig_rax = u64::MAX;
                Ok(ptrace::setregs(pid, registers).is_ok())
            }
        }
    }

    fn write_down(&mut self, point: &Point) -> anyhow::Result<()> {
        let line = serde_json::to_string(point)? + "\n";
        self.log.write_all(line.as_bytes()).context("write the log of calls")
    }
}

/// Lets a thread run to its next call. It may be gone by now, and then there is nothing to resume.
fn resume(pid: Pid, signal: Option<Signal>) {
    let gone = ptrace::syscall(pid, signal);
    debug_assert!(matches!(gone, Ok(()) | Err(Errno::ESRCH)), "resume {pid}: {gone:?}");
}

fn end(pid: Pid) -> anyhow::Result<bool> {
    let killed = kill(pid, Signal::SIGKILL);
    ensure!(matches!(killed, Ok(()) | Err(Errno::ESRCH)), "could not kill {pid}: {killed:?}");
    Ok(false)
}

/// What a failed call leaves in the result register.
fn error(errno: Errno) -> u64 {
    (-i64::from(errno_number(errno))).cast_unsigned()
}

#[expect(clippy::as_conversions, reason = "the enum is the number, by its definition")]
fn errno_number(errno: Errno) -> i32 {
    errno as i32
}

#[expect(clippy::as_conversions, reason = "the enum is the number, by its definition")]
fn signal_number(signal: Signal) -> i32 {
    signal as i32
}

/// The name of a call that makes something durable.
fn durable(number: u64) -> Option<&'static str> {
    let number = libc::c_long::try_from(number).ok()?;
    [
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_rename, "rename"),
        (libc::SYS_renameat, "renameat"),
        (libc::SYS_renameat2, "renameat2"),
    ]
    .into_iter()
    .find(|(known, _)| *known == number)
    .map(|(_, name)| name)
}

fn role_of(pid: Pid) -> Option<Role> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<String> = line
        .split(|byte| *byte == 0)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    Role::of(&arguments)
}

/// The file that a call is about, for reports.
fn path_of(pid: Pid, call: &str, registers: &libc::user_regs_struct) -> String {
    let descriptor = |number: u64| {
        fs::read_link(format!("/proc/{pid}/fd/{number}"))
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    match call {
        "fsync" | "fdatasync" => descriptor(registers.rdi),
        "rename" => text_at(pid, registers.rsi),
        // `renameat` and `renameat2` have the new name fourth, relative to the third.
        _ => {
            let name = text_at(pid, registers.r10);
            if name.starts_with('/') {
                name
            } else {
                format!("{}/{name}", descriptor(registers.rdx))
            }
        }
    }
}

/// The text at an address of a traced process, as far as it can be read.
fn text_at(pid: Pid, address: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut memory = File::open(format!("/proc/{pid}/mem"))?;
        memory.seek(SeekFrom::Start(address))?;
        let mut bytes = vec![0; 512];
        let length = memory.read(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
