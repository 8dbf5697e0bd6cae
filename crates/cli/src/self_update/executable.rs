//! The file that this program is, and how another takes its place.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use handover_client::real_world::Stop;
use handover_hoststeps::disk;
use handover_model::Version;
use rustix::fs::Access;
use tempfile::TempPath;

use super::SelfUpdateError;

/// Where dpkg lists the files of each package.
const DPKG: &str = "/var/lib/dpkg/info";
/// How long the new program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(20);

/// This program's file.
#[derive(Debug)]
pub(super) struct Executable {
    path: Utf8PathBuf,
    directory: Utf8PathBuf,
}

impl Executable {
    /// Finds it, and refuses where it is not ours to replace.
    pub(super) fn find() -> Result<Self, SelfUpdateError> {
        let path = std::env::current_exe().and_then(|path| path.canonicalize());
        let path = path.map_err(SelfUpdateError::io("find", "/proc/self/exe"))?;
        let path = Utf8PathBuf::try_from(path)
            .map_err(|_source| SelfUpdateError::Unreadable { what: "its own path" })?;
        if let Some(package) = package_of(&path, Utf8Path::new(DPKG)) {
            return Err(SelfUpdateError::Packaged { path, package });
        }
        let directory = path.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        if rustix::fs::access(directory.as_std_path(), Access::WRITE_OK).is_err() {
            return Err(SelfUpdateError::NotWritable { path, directory });
        }
        Ok(Self { path, directory })
    }

    /// Where it lies, and the new one is put together.
    pub(super) fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Runs the new one: it must say that it is `version`.
    pub(super) fn test(&self, fresh: &TempPath, version: &Version) -> Result<(), SelfUpdateError> {
        let failed = |what: String| SelfUpdateError::SelfTest { path: self.path.clone(), what };
        let mut child = Command::new(fresh)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut waited = Duration::ZERO;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if waited < PATIENCE => {
                    Stop::never().wait(GLANCE);
                    waited = waited.saturating_add(GLANCE);
                }
                Ok(None) => {
                    let _ended = child.kill().and_then(|()| child.wait());
                    return Err(failed("it did not answer --version".to_owned()));
                }
                Err(error) => return Err(failed(error.to_string())),
            }
        };
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut bounded = std::io::Read::take(stdout, 4096);
            let _cut = std::io::Read::read_to_string(&mut bounded, &mut said);
        }
        let name = version.to_string();
        if status.success() && said.split_whitespace().any(|word| word == name) {
            return Ok(());
        }
        let said: String = said.trim().chars().take(80).collect();
        Err(failed(format!("--version ended with {status} and said {said:?}")))
    }

    /// Puts the new one in place; the old one stays beside it as `.previous`.
    pub(super) fn swap(&self, fresh: TempPath) -> Result<(), SelfUpdateError> {
        let previous = Utf8PathBuf::from(format!("{}.previous", self.path));
        let aside = Utf8PathBuf::from(format!("{previous}.new"));
        let _left_by_a_kill = std::fs::remove_file(&aside);
        // Some file systems, and files of other users, have no second link.
        std::fs::hard_link(&self.path, &aside)
            .or_else(|_no_link| std::fs::copy(&self.path, &aside).map(drop))
            .map_err(SelfUpdateError::io("keep", &self.path))?;
        std::fs::rename(&aside, &previous).map_err(SelfUpdateError::io("keep", &previous))?;
        fresh
            .persist(&self.path)
            .map_err(|error| SelfUpdateError::io("replace", &self.path)(error.error))?;
        disk::sync_dir(&self.directory)?;
        Ok(())
    }
}

/// An unfinished file beside the executable, gone again unless it is persisted.
pub(super) fn aside(directory: &Utf8Path) -> Result<tempfile::NamedTempFile, SelfUpdateError> {
    tempfile::Builder::new()
        .prefix(".handover-")
        .suffix(".new")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempfile_in(directory)
        .map_err(SelfUpdateError::io("make a file in", directory))
}

/// The Debian package that lists `path`, if one does.
fn package_of(path: &Utf8Path, lists: &Utf8Path) -> Option<String> {
    // Since /bin, /lib and /sbin are links into /usr, either name may be listed.
    let merged = path.as_str().strip_prefix("/usr").unwrap_or(path.as_str());
    let names = [path.as_str().to_owned(), merged.to_owned(), format!("/usr{path}")];
    for entry in lists.read_dir_utf8().ok()?.flatten() {
        let Some(package) = entry.file_name().strip_suffix(".list") else { continue };
        let Ok(Some(bytes)) = disk::read(entry.path()) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        if text.lines().any(|line| names.iter().any(|name| name == line)) {
            return Some(package.split(':').next().unwrap_or(package).to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_debian_package_is_known_by_either_of_its_names() {
        let lists = tempfile::tempdir().unwrap();
        let lists = Utf8Path::from_path(lists.path()).unwrap();
        let list = lists.join("handover:amd64.list");
        disk::write(&list, b"/.\n/lib/handover/cli/handover\n", 0o644).unwrap();
        let of = |path: &str| package_of(Utf8Path::new(path), lists);
        assert_eq!(of("/lib/handover/cli/handover").as_deref(), Some("handover"));
        assert_eq!(of("/usr/lib/handover/cli/handover").as_deref(), Some("handover"));
        assert_eq!(of("/usr/local/bin/handover"), None);
    }

    #[test]
    fn a_new_program_that_says_another_version_is_not_taken() {
        use std::io::Write as _;
        let directory = tempfile::tempdir().unwrap();
        let directory = Utf8Path::from_path(directory.path()).unwrap().to_owned();
        let old = directory.join("handover");
        disk::write(&old, b"#!/bin/sh\necho handover 1.0.0\n", 0o755).unwrap();
        let executable = Executable { path: old.clone(), directory: directory.clone() };
        let mut fresh = aside(&directory).unwrap();
        fresh.write_all(b"#!/bin/sh\necho handover 1.1.0\n").unwrap();
        let fresh = fresh.into_temp_path();
        let wrong = executable.test(&fresh, &Version::new(1, 2, 0)).unwrap_err();
        assert!(matches!(wrong, SelfUpdateError::SelfTest { .. }), "{wrong}");
        executable.test(&fresh, &Version::new(1, 1, 0)).unwrap();
        executable.swap(fresh).unwrap();
        let text = |path: &Utf8Path| std::fs::read_to_string(path).unwrap();
        assert!(text(&old).contains("1.1.0"));
        assert!(text(&directory.join("handover.previous")).contains("1.0.0"));
    }
}
