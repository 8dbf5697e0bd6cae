//! The ports of a fake machine: host, journal and clock. Every call of theirs can be made to fail
//! or to kill the process.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use camino::Utf8Path;
use handover_hoststeps::shell::{Clock, Log, Waited};
use handover_hoststeps::{
    CheckAnswer, CommandSpec, Entry, Host, HostError, Launched, Output, Published, Running,
};
use handover_model::{CheckKind, ComponentName, Digest, Now, Slots};

use crate::machine::{Call, Machine, has_effect};
use crate::{How, invariants};

/// How long each call takes.
const CALL: Duration = Duration::from_millis(1);

pub(crate) type Shared = Rc<RefCell<Machine>>;

/// A machine as steps see it.
#[derive(Debug, Clone)]
pub struct FakeHost {
    machine: Shared,
}

/// A run's journal on a fake machine.
#[derive(Debug)]
pub struct FakeLog {
    machine: Shared,
}

/// A fake machine's clocks, counted from the beginning of one life.
#[derive(Debug)]
pub struct FakeClock {
    machine: Shared,
    born: Duration,
}

impl FakeHost {
    /// A view of `machine`.
    pub fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    fn look<T>(
        &self,
        name: &'static str,
        path: &Utf8Path,
        effect: impl FnOnce(&Machine) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let call = Call { name, writes: false, splits: false };
        self.call(call, path, |machine| effect(machine))
    }

    fn change<T>(
        &self,
        name: &'static str,
        path: &Utf8Path,
        effect: impl FnOnce(&mut Machine) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let splits = matches!(name, "run" | "change the owner of");
        self.call(Call { name, writes: true, splits }, path, effect)
    }

    fn call<T>(
        &self,
        call: Call,
        path: &Utf8Path,
        effect: impl FnOnce(&mut Machine) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        let machine = &mut *self.machine.borrow_mut();
        let (name, writes, splits) = (call.name, call.writes, call.splits);
        if machine.down.is_some() {
            return Err(broken(name, path));
        }
        machine.pass(CALL);
        if writes {
            invariants::before_write(machine, name, path);
        }
        let fault = machine.count(call);
        let Some(fault) = fault else {
            let answer = effect(machine);
            invariants::after_change(machine);
            return answer;
        };
        if has_effect(fault.how) {
            let before = machine.tree.clone();
            // The caller learns of the fault alone.
            drop(effect(machine));
            // What is atomic, such as a rename, is never found half done.
            if fault.how == How::CrashWithin && splits {
                machine.tree.half_way_from(&before);
            }
            invariants::after_change(machine);
        }
        Err(broken(name, path))
    }
}

fn broken(act: &'static str, path: &Utf8Path) -> HostError {
    failed(act, path, io::Error::from_raw_os_error(5))
}

fn failed(act: &'static str, path: &Utf8Path, source: io::Error) -> HostError {
    HostError::Io { act, path: path.to_owned(), source }
}

fn missing(act: &'static str, path: &Utf8Path) -> HostError {
    failed(act, path, io::ErrorKind::NotFound.into())
}

fn parent_is_there(machine: &Machine, act: &'static str, path: &Utf8Path) -> Result<(), HostError> {
    match path.parent() {
        Some(parent) if !machine.tree.is_dir(parent) => Err(missing(act, path)),
        Some(_) | None => Ok(()),
    }
}

fn nothing_is_there(machine: &Machine, path: &Utf8Path) -> Result<(), HostError> {
    if machine.tree.node(path).is_some() {
        let what = "it is there already".to_owned();
        return Err(HostError::Surprise { path: path.to_owned(), what });
    }
    Ok(())
}

impl Host for FakeHost {
    fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>, HostError> {
        self.look("read", path, |machine| Ok(machine.tree.file(path).map(<[u8]>::to_vec)))
    }

    fn stat(&self, path: &Utf8Path) -> Result<Option<Entry>, HostError> {
        self.look("look at", path, |machine| Ok(machine.tree.stat(path)))
    }

    fn list(&self, path: &Utf8Path) -> Result<Option<Vec<Entry>>, HostError> {
        self.look("list", path, |machine| Ok(machine.tree.list(path)))
    }

    fn digest(&self, path: &Utf8Path) -> Result<Option<Digest>, HostError> {
        self.look("digest", path, |machine| Ok(machine.tree.digest(path)))
    }

    fn free_bytes(&self, path: &Utf8Path) -> Result<u64, HostError> {
        self.look("measure", path, |machine| Ok(machine.free))
    }

    fn make_dir(&mut self, path: &Utf8Path) -> Result<(), HostError> {
        self.change("make directory", path, |machine| {
            machine.tree.make_dir(path);
            Ok(())
        })
    }

    fn make_private_dir(&mut self, path: &Utf8Path) -> Result<(), HostError> {
        self.change("make directory", path, |machine| {
            machine.tree.make_private_dir(path);
            Ok(())
        })
    }

    fn write(&mut self, path: &Utf8Path, bytes: &[u8], mode: u32) -> Result<(), HostError> {
        self.change("write", path, |machine| {
            parent_is_there(machine, "write", path)?;
            machine.tree.put(path, bytes, mode);
            Ok(())
        })
    }

    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError> {
        self.change("rename", from, |machine| {
            parent_is_there(machine, "rename", to)?;
            nothing_is_there(machine, to)?;
            if machine.tree.node(from).is_none() {
                return Err(missing("rename", from));
            }
            machine.tree.rename(from, to);
            Ok(())
        })
    }

    fn copy_tree(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), HostError> {
        self.change("copy", from, |machine| {
            parent_is_there(machine, "copy", to)?;
            nothing_is_there(machine, to)?;
            if machine.tree.node(from).is_none() {
                return Err(missing("copy", from));
            }
            machine.tree.copy(from, to);
            Ok(())
        })
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), HostError> {
        self.change("remove", path, |machine| {
            machine.tree.remove(path);
            Ok(())
        })
    }

    fn chown_tree(&mut self, path: &Utf8Path, user: &str) -> Result<(), HostError> {
        self.change("change the owner of", path, |machine| {
            machine.tree.chown(path, user);
            Ok(())
        })
    }

    fn exec(&mut self, command: &CommandSpec) -> Result<Output, HostError> {
        self.change("run", &command.program, |machine| {
            let name = command.program.file_name().unwrap_or_default();
            Ok(match machine.programs.get(name).cloned() {
                Some(program) => program(&mut machine.tree, command),
                None => Output { code: Some(0), timed_out: false, tail: String::new() },
            })
        })
    }

    fn slots(&self, component: &ComponentName) -> Result<Slots, HostError> {
        let path = self.machine.borrow().layout(component).slots();
        self.look("read", &path, |machine| Ok(machine.newest_slots(component)))
    }

    fn publish_slots(
        &mut self,
        component: &ComponentName,
        slots: &Slots,
    ) -> Result<Published, HostError> {
        let path = self.machine.borrow().layout(component).slots();
        self.change("publish", &path, |machine| {
            Ok(if machine.publish(component, slots) { Published::Ours } else { Published::Taken })
        })
    }

    fn running(&self, component: &ComponentName) -> Result<Running, HostError> {
        let path = self.machine.borrow().layout(component).launches();
        self.look("look at", &path, |machine| {
            let launcher = machine.launchers.get(component);
            let child = launcher.and_then(|launcher| launcher.child.as_ref());
            Ok(Running {
                launcher: launcher.map(|launcher| launcher.pid),
                child: child.map(|child| Launched {
                    pid: child.pid,
                    started: u64::try_from(child.since.as_millis()).unwrap_or(u64::MAX) / 10,
                    release: child.slot.release.clone(),
                    executable_digest: child.digest,
                    ready: child.ready,
                    age: machine.now.saturating_sub(child.since),
                }),
                paused: launcher.and_then(|launcher| launcher.paused),
            })
        })
    }

    fn check(&self, check: &CheckKind, directory: &Utf8Path) -> Result<CheckAnswer, HostError> {
        self.look("check", directory, |machine| {
            let _ = check;
            let child = machine
                .launchers
                .values()
                .filter_map(|launcher| launcher.child.as_ref())
                .find(|child| child.slot.recipe.executable.starts_with(directory));
            Ok(match child {
                None => CheckAnswer::Ill("nothing answers".to_owned()),
                Some(child) => {
                    let age = machine.now.saturating_sub(child.since);
                    match child.behaviour.ill_after {
                        Some(after) if age >= after => CheckAnswer::Ill("it is ill".to_owned()),
                        Some(_) | None => CheckAnswer::Well,
                    }
                }
            })
        })
    }
}

impl FakeLog {
    /// The journal of `machine`.
    pub fn new(machine: Rc<RefCell<Machine>>) -> Self {
        Self { machine }
    }

    fn call(
        &mut self,
        name: &'static str,
        effect: impl FnOnce(&mut Machine, bool),
    ) -> io::Result<()> {
        let machine = &mut *self.machine.borrow_mut();
        let error = || io::Error::from_raw_os_error(28);
        if machine.down.is_some() {
            return Err(error());
        }
        match machine.count(Call { name, writes: true, splits: name == "append" }) {
            None => {
                effect(machine, true);
                Ok(())
            }
            Some(fault) => {
                if has_effect(fault.how) {
                    effect(machine, fault.how != How::CrashWithin);
                }
                Err(error())
            }
        }
    }
}

impl Log for FakeLog {
    fn append(&mut self, line: &str) -> io::Result<()> {
        self.call("append", |machine, whole| {
            let end = if whole { line.len() } else { line.len() / 2 };
            machine.journal.tail.extend_from_slice(&line.as_bytes()[..end]);
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call("sync", |machine, _whole| {
            let tail = std::mem::take(&mut machine.journal.tail);
            machine.journal.durable.extend(tail);
        })
    }
}

impl FakeClock {
    /// The clocks of `machine`, from now on.
    pub fn new(machine: Rc<RefCell<Machine>>) -> Self {
        let born = machine.borrow().now();
        Self { machine, born }
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Now {
        let machine = self.machine.borrow();
        Now { wall: machine.wall(), mono: machine.now().saturating_sub(self.born) }
    }

    fn wait(&mut self, until: Duration) -> Waited {
        let machine = &mut *self.machine.borrow_mut();
        if machine.down.is_some() {
            return Waited::Stop;
        }
        let end = self.born + until;
        machine.pass(end.saturating_sub(machine.now()));
        Waited::Elapsed
    }
}
