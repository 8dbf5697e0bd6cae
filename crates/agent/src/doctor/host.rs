//! The host's own files: policy, choices, launcher, modes, leftovers, space.

use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8Path;
use handover_hoststeps::disk;

use super::{Examination, put_aside};
use crate::failure::{Failure, chain};
use crate::incoming::stale;
use crate::install::bytes;
use crate::policy::Choices;

/// Less free space than this is worth a word.
const LITTLE: u64 = 64 * 1024 * 1024;

pub(super) fn examine(seen: &mut Examination<'_>) {
    let home = &seen.agent.home;
    let choices = home.choices();
    if let Err(error) = Choices::load(&choices) {
        let does = "set it aside; pins and added components have to be chosen again";
        seen.mendable("choices-damaged", &choices, chain(&error), does, |agent| {
            put_aside(agent, &agent.home.choices())?;
            Ok(())
        });
    } else if let Err(error) = seen.agent.policy() {
        seen.note("policy", &home.policy(), chain(&error), "mend the file");
    }
    launcher(seen);
    for name in ["trust", "incoming"] {
        private(seen, &seen.agent.home.root().join(name));
    }
    leftovers(seen);
    space(seen);
}

fn launcher(seen: &mut Examination<'_>) {
    let path = seen.agent.home.launcher();
    let program = path.metadata().is_ok_and(|meta| {
        meta.is_file() && meta.len() > 0 && meta.permissions().mode() & 0o111 != 0
    });
    if program {
        return;
    }
    let what = "the launcher is missing, empty or not executable".to_owned();
    seen.mendable("launcher", &path, what, "put the agent's own copy there", |agent| {
        let beside = agent.program.with_file_name("handover-launch");
        let copy = std::fs::read(&beside).map_err(|source| Failure::Stream {
            act: "read the launcher beside this program",
            source,
        })?;
        let path = agent.home.launcher();
        if let Some(bin) = path.parent() {
            disk::make_dir(bin)?;
        }
        Ok(disk::write(&path, &copy, 0o755)?)
    });
}

fn private(seen: &mut Examination<'_>, path: &Utf8Path) {
    let Ok(meta) = path.metadata() else { return };
    let mode = meta.permissions().mode() & 0o7777;
    if mode == 0o700 {
        return;
    }
    let what = format!("its mode is {mode:04o}; nobody else should look or write there");
    let owned = path.to_owned();
    seen.mendable("mode", &path, what, "set it to 0700", move |_agent| {
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&owned, mode)
            .map_err(|source| Failure::Stream { act: "set a mode", source })
    });
}

/// What lies in `incoming/` and is nobody's; the follow loop removes it, too.
fn leftovers(seen: &mut Examination<'_>) {
    for path in stale(seen.agent) {
        let goal = path.clone();
        let what = "left over from an update that is not under way".to_owned();
        seen.mendable("leftover", &path, what, "remove it", move |_agent| {
            Ok(disk::remove_tree(&goal)?)
        });
    }
}

fn space(seen: &mut Examination<'_>) {
    let root = seen.agent.home.root();
    let Ok(stat) = rustix::fs::statvfs(root.as_std_path()) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= LITTLE {
        return;
    }
    let spare = super::components::spare_bytes(seen.agent);
    let what =
        format!("only {} are free; releases that no slot names hold {}", bytes(free), bytes(spare));
    let way_out = "free some space; the next update's retention removes what nothing needs";
    seen.note("disk-full", &seen.agent.home.root(), what, way_out);
}
