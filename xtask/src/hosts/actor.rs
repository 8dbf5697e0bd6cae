//! What an administrator does on a host, and how we look at what came of it.

use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use handover_hoststeps::disk::SlotsStore;
use handover_model::{ComponentName, Layout, Slots};
use serde_json::Value;

use super::rig::Host;
use super::wardrobe::REPOSITORY;
use crate::wait;

/// How long anything on a host may take.
const LIMIT: Duration = Duration::from_mins(1);
const ROOT: &str = "/var/lib/handover";

impl Host {
    /// Installs the agent's package of `version` with apt.
    ///
    /// # Errors
    /// When apt fails.
    pub(super) fn apt_install(&self, version: &str) -> anyhow::Result<String> {
        self.must(&format!(
            "apt-get install --yes --quiet --no-install-recommends \
             /srv/share/debs/handover-agent_{version}_*.deb 2>&1"
        ))
    }

    /// Installs the package, begins to follow the repository and installs web 1.0.0.
    ///
    /// # Errors
    /// When a step of it fails, or 1.0.0 does not serve in the end.
    pub(super) fn set_up(&self) -> anyhow::Result<()> {
        let said = self.apt_install("0.1.0")?;
        ensure!(
            said.contains("handover-agent enroll TOKEN"),
            "apt did not say how to begin: {said}"
        );
        self.must(&format!(
            "handover-agent init --repository http://{REPOSITORY} --trusted-root \
             /srv/share/root.json --name host"
        ))?;
        self.policy("mode: manual", "mode: manual")?;
        self.must("systemctl enable --quiet --now handover-agent handover@web")?;
        self.must("handover-agent update web --to 1.0.0")?;
        self.serves("1.0.0")
    }

    /// Writes the policy; `agent` and `web` say how these two are followed.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(super) fn policy(&self, agent: &str, web: &str) -> anyhow::Result<()> {
        let text = policy_text(agent, web);
        self.must(&format!("cat > {ROOT}/policy.yaml <<'END'\n{text}END"))?;
        Ok(())
    }

    /// Updates a component to a version, to the end; the exit code.
    ///
    /// # Errors
    /// When the host is down.
    pub(super) fn update(&self, component: &str, version: &str) -> anyhow::Result<Option<i32>> {
        Ok(self.run(&format!("handover-agent update {component} --to {version}"))?.code)
    }

    /// Starts an update of web and waits until the release is on trial and running.
    ///
    /// # Errors
    /// When that does not come about.
    pub(super) fn begin_trial(&self, version: &str) -> anyhow::Result<Child> {
        let child = self.start(&format!("handover-agent update web --to {version}"))?;
        self.until(&format!("{version} to be on trial"), |host| {
            let slots = host.slots("web").map_err(|error| format!("{error:#}"))?;
            match slots.trial {
                Some(trial) if trial.slot.release.version.to_string() == version => Ok(()),
                _ => Err("no such trial".to_owned()),
            }
        })?;
        self.serves(version)?;
        Ok(child)
    }

    /// Looks at this host until `look` is content.
    ///
    /// # Errors
    /// When it is not within a minute.
    pub(super) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        wait::until(what, LIMIT, || look(self))
    }

    /// Waits until the service answers as `version`.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn serves(&self, version: &str) -> anyhow::Result<()> {
        self.until(&format!("{version} to serve"), |host| {
            let served = host.served().map_err(|error| format!("{error:#}"))?;
            if served == version { Ok(()) } else { Err(served) }
        })
    }

    fn served(&self) -> anyhow::Result<String> {
        let body = self.must("curl --fail --silent --show-error -m 5 http://127.0.0.1:8080/")?;
        let value: Value = serde_json::from_str(&body).context("parse the service's answer")?;
        Ok(value["version"].as_str().unwrap_or_default().to_owned())
    }

    /// A component's slots, read from the host's disk.
    ///
    /// # Errors
    /// When they are damaged.
    pub(super) fn slots(&self, component: &str) -> anyhow::Result<Slots> {
        let layout = Layout::new(self.path(ROOT), component.parse::<ComponentName>()?);
        Ok(SlotsStore::new(layout.slots()).load()?)
    }

    /// Waits until web rests: nothing on trial, `version` current and serving.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn rests_at(&self, version: &str) -> anyhow::Result<Slots> {
        let slots = self.until(&format!("web to rest at {version}"), |host| {
            let slots = host.slots("web").map_err(|error| format!("{error:#}"))?;
            if slots.trial.is_some() || slots.pause.is_some() {
                return Err("on trial or paused".to_owned());
            }
            match &slots.current {
                Some(current) if current.release.version.to_string() == version => Ok(slots),
                other => Err(format!("{:?} is current", other.as_ref().map(|slot| &slot.release))),
            }
        })?;
        self.serves(version)?;
        Ok(slots)
    }

    /// What `handover-agent status` says of a component.
    ///
    /// # Errors
    /// When it fails or does not name the component.
    pub(super) fn status(&self, component: &str) -> anyhow::Result<Value> {
        let text = self.must("handover-agent --output json status")?;
        let status: Value = serde_json::from_str(&text).context("parse the status")?;
        status["components"]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["component"] == component))
            .cloned()
            .with_context(|| format!("status does not name {component}: {status}"))
    }

    /// Waits until `status` has proved that a component runs `version` as its current release.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn proves(&self, component: &str, version: &str) -> anyhow::Result<Value> {
        self.until(&format!("{component} {version} to be proved"), |host| {
            let status = host.status(component).map_err(|error| format!("{error:#}"))?;
            let process = &status["process"];
            let all = status["current"] == version
                && process["version"] == version
                && process["proved"] == true;
            if all { Ok(status) } else { Err(status.to_string()) }
        })
    }

    /// The main process of a unit, and how often systemd restarted it.
    ///
    /// # Errors
    /// When systemd does not know it.
    pub(super) fn unit(&self, name: &str) -> anyhow::Result<(String, String)> {
        let show = |what: &str| self.must(&format!("systemctl show --value -p {what} {name}"));
        Ok((show("MainPID")?.trim().to_owned(), show("NRestarts")?.trim().to_owned()))
    }
}

/// A policy; `agent` and `web` say how these two are followed.
pub(super) fn policy_text(agent: &str, web: &str) -> String {
    format!(
        "agent: host\nrepository:\n  metadata: http://{REPOSITORY}/metadata\n  targets: \
         http://{REPOSITORY}/targets\npoll: 1s\ncomponents:\n  - name: handover-agent\n    \
         {agent}\n  - name: web\n    {web}\n"
    )
}
