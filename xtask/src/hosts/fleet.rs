//! A control plane and its agents, each on a host of its own, joined by a network.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::rig::{Host, Ran};
use crate::wait;

/// How long anything may take to be seen by the control plane.
const LIMIT: Duration = Duration::from_mins(1);
/// Where the first start leaves its login token.
pub(super) const FIRST_TOKEN: &str = "/var/lib/handover-server/first-token";

/// A control plane and its agents.
pub(super) struct Fleet {
    /// The control plane's host.
    pub(super) server: Host,
    /// The agents' hosts.
    pub(super) hosts: Vec<Host>,
}

impl Fleet {
    /// Installs and configures the control plane, enrols every host, and has web 1.0.0 installed
    /// on each by an order.
    ///
    /// # Errors
    /// When a step of it fails.
    pub(super) fn set_up(&self) -> anyhow::Result<()> {
        self.install_server()?;
        for host in &self.hosts {
            self.enrol(host)?;
        }
        for host in &self.hosts {
            self.order(&format!("agent update {} --component web --to 1.0.0", host.name()))?;
            self.shows(host, "1.0.0")?;
            host.serves("1.0.0")?;
        }
        Ok(())
    }

    /// Installs the server's package with apt, says where it is to be found, and logs in.
    ///
    /// # Errors
    /// When it does not come up, or the first token is not where it should be.
    pub(super) fn install_server(&self) -> anyhow::Result<()> {
        let said = self.apt_install_server("0.1.0")?;
        ensure!(said.contains(FIRST_TOKEN), "apt did not say how to log in: {said}");
        let login = self.server.must(&format!("handover login --token-file {FIRST_TOKEN}"));
        login.context("log in with the first token")?;
        self.server.must(&format!(
            "printf 'HANDOVER_SERVER_LISTEN=0.0.0.0:8443\nHANDOVER_SERVER_NAMES={}\n\
             HANDOVER_SERVER_REPOSITORY=/srv/share/repository\n' > /etc/handover/server.env && \
             systemctl restart handover-server",
            self.server.address()
        ))?;
        Ok(())
    }

    /// Installs `version` of the server's packages with apt.
    ///
    /// # Errors
    /// When apt fails.
    pub(super) fn apt_install_server(&self, version: &str) -> anyhow::Result<String> {
        self.server.must(&format!(
            "apt-get install --yes --quiet --no-install-recommends \
             /srv/share/debs/handover_{version}_*.deb \
             /srv/share/debs/handover-server_{version}_*.deb 2>&1"
        ))
    }

    /// Installs the agent's package on a host and enrols it, as its documentation says.
    ///
    /// # Errors
    /// When a step of it fails.
    pub(super) fn enrol(&self, host: &Host) -> anyhow::Result<()> {
        let name = host.name();
        let said = host.apt_install("0.1.0")?;
        ensure!(said.contains("handover-agent enroll"), "apt did not say how to begin: {said}");
        let token = self.server.must(&format!("handover token create --name {name}"))?;
        host.must(&format!("HANDOVER_TOKEN={} handover-agent enroll --name {name}", token.trim()))?;
        host.must("systemctl enable --quiet --now handover-agent handover@web")?;
        Ok(())
    }

    /// Runs `handover` as the operator, on the server's host.
    ///
    /// # Errors
    /// When the server's host is down.
    pub(super) fn operate(&self, line: &str) -> anyhow::Result<Ran> {
        self.server.run(&format!("handover {line}"))
    }

    /// [`Fleet::operate`] that has to succeed; returns what was printed.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn order(&self, line: &str) -> anyhow::Result<String> {
        self.server.must(&format!("handover {line}"))
    }

    /// Orders an update of web without waiting for its end.
    ///
    /// # Errors
    /// When the order is not taken.
    pub(super) fn ask(&self, host: &Host, version: &str) -> anyhow::Result<()> {
        let name = host.name();
        self.order(&format!("agent update {name} --component web --to {version} --no-wait"))?;
        Ok(())
    }

    /// What a command prints as JSON.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn json(&self, line: &str) -> anyhow::Result<Value> {
        let text = self.order(&format!("--output json {line}"))?;
        serde_json::from_str(&text).with_context(|| format!("parse what {line} printed: {text}"))
    }

    /// Waits until the control plane shows that web runs as `version` on `host`, proved.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn shows(&self, host: &Host, version: &str) -> anyhow::Result<()> {
        let what = format!("the control plane to show web {version} on {}", host.name());
        self.until(&what, |fleet| {
            let agent = fleet.json(&format!("agent show {}", host.name()))?;
            let components = agent["components"].as_array().cloned().unwrap_or_default();
            let shown = components.iter().any(|one| {
                one["component"] == "web" && one["current"] == version && one["proved"] == true
            });
            Ok(if shown { Ok(()) } else { Err(agent.to_string()) })
        })
    }

    /// Every order that was given for `host`, the oldest first, by its state.
    ///
    /// # Errors
    /// When they can't be listed.
    pub(super) fn orders(&self, host: &Host) -> anyhow::Result<Vec<String>> {
        let listed = self.json(&format!("order list --agent {}", host.name()))?;
        let orders = listed.as_array().with_context(|| format!("no list: {listed}"))?;
        Ok(orders.iter().map(|one| one["state"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Waits until every order for `host` has ended well, and returns how many there were.
    ///
    /// # Errors
    /// When one has not.
    pub(super) fn all_done(&self, host: &Host) -> anyhow::Result<usize> {
        self.until(&format!("every order for {} to be done", host.name()), |fleet| {
            let states = fleet.orders(host)?;
            let done = states.iter().all(|state| state == "done");
            Ok(if done { Ok(states.len()) } else { Err(states.join(", ")) })
        })
    }

    /// Looks until `look` is content. An error of a look counts as not yet: the server may be on
    /// its way up.
    ///
    /// # Errors
    /// When it is not within a minute.
    pub(super) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> anyhow::Result<Result<T, String>>,
    ) -> anyhow::Result<T> {
        wait::until(what, LIMIT, || match look(self) {
            Ok(seen) => seen,
            Err(error) => Err(format!("{error:#}")),
        })
    }

    /// What all their journals say.
    pub(super) fn journals(&self) -> String {
        let journals: Vec<_> =
            std::iter::once(&self.server).chain(&self.hosts).map(Host::journal).collect();
        journals.join("\n")
    }
}

impl Host {
    /// How many runs of web this host has begun, ever.
    ///
    /// # Errors
    /// When the host is down.
    pub(super) fn runs(&self) -> anyhow::Result<usize> {
        let listed = self.must("ls /var/lib/handover/components/web/runs")?;
        Ok(listed.lines().count())
    }
}
