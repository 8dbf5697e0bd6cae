//! `handover group`: selections saved under names.

use handover_client::call::Method;
use handover_engine::selection::Selection;
use handover_model::GroupName;
use handover_model::api::{GroupInfo, GroupRequest};

use super::agents::OnlyIf;
use super::api::Api;
use super::{ControlError, Desk, routes, select, words};
use crate::output::{fields, table};
use crate::real_world::now;

/// What `group` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum GroupCommand {
    /// List saved groups, with how many agents they hold now.
    List,
    /// Save a group, or change it.
    #[command(after_help = "Example: handover group set canaries --select 'label.ring = 0'")]
    Set {
        /// Its name; `group:NAME` in selections stands for it.
        name: GroupName,
        /// Which agents (docs/selections.md).
        #[arg(long, value_name = "SELECTION", value_parser = select::parse_argument)]
        select: Selection,
        /// What it is for.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        only: OnlyIf,
    },
    /// Show one group, and the agents that it holds now.
    Show {
        /// Its name.
        name: String,
    },
    /// Forget a group. One that other groups or live rollouts name stays, unless that is meant.
    Delete {
        /// Its name.
        name: String,
        /// Even if other groups or live rollouts name it: they miss it then.
        #[arg(long)]
        anyway: bool,
        #[command(flatten)]
        only: OnlyIf,
    },
}

/// Runs one.
pub(super) fn run(command: GroupCommand, desk: &Desk<'_>) -> Result<(), ControlError> {
    let (_, api) = desk.open()?;
    match command {
        GroupCommand::List => list(&api, desk),
        GroupCommand::Set { name, select, note, only } => {
            let request = GroupRequest { select: select.to_string(), note };
            let path = routes::one(routes::GROUPS, &name);
            let tag = only.tag();
            let saved: GroupInfo =
                api.change("save the group", (Method::Put, &path), Some(&request), tag.as_deref())?;
            desk.out.result(&saved, |saved| {
                format!("group {} holds {} agents: {}", saved.name, saved.matched, saved.select)
            });
            Ok(())
        }
        GroupCommand::Show { name } => show(&api, &name, desk),
        GroupCommand::Delete { name, anyway, only } => {
            let group = find(&api, &name)?;
            let query = if anyway { "?anyway=true" } else { "" };
            let path = format!("{}{query}", routes::one(routes::GROUPS, &group.name));
            let tag = only.tag();
            let gone: serde_json::Value =
                api.change("forget it", (Method::Delete, &path), None::<&()>, tag.as_deref())?;
            desk.out.result(&gone, |_| format!("group {} is forgotten", group.name));
            Ok(())
        }
    }
}

fn list(api: &Api, desk: &Desk<'_>) -> Result<(), ControlError> {
    let groups: Vec<GroupInfo> = api.list("list groups", routes::GROUPS, None)?;
    desk.out.result(&groups, |groups| {
        let mut rows =
            vec![["GROUP", "AGENTS", "SELECTION", "CHANGED", "NOTE"].map(str::to_owned).to_vec()];
        rows.extend(groups.iter().map(|group| {
            vec![
                group.name.to_string(),
                group.matched.to_string(),
                group.select.clone(),
                words::ago(group.changed_at, now()),
                group.note.clone().unwrap_or_default(),
            ]
        }));
        table(&rows)
    });
    Ok(())
}

fn show(api: &Api, name: &str, desk: &Desk<'_>) -> Result<(), ControlError> {
    let group = find(api, name)?;
    let first = match Selection::parse(&group.select) {
        Ok(selection) if !desk.out.is_for_programs() => select::preview(api, &selection)?.first,
        Ok(_) | Err(_) => Vec::new(),
    };
    desk.out.result(&group, |group| {
        let names: Vec<_> = first.iter().map(ToString::to_string).collect();
        let more = !names.is_empty()
            && usize::try_from(group.matched).is_ok_and(|matched| matched > names.len());
        let first = format!("{}{}", names.join(", "), if more { ", …" } else { "" });
        let mut pairs = vec![
            ("group", group.name.to_string()),
            ("selection", group.select.clone()),
            ("note", group.note.clone().unwrap_or_default()),
            ("agents", group.matched.to_string()),
            ("first", first),
            ("saved", format!("{} by {}", words::ago(group.changed_at, now()), group.by)),
            ("generation", group.generation.to_string()),
        ];
        pairs.retain(|(_, value)| !value.is_empty());
        fields(&pairs)
    });
    Ok(())
}

/// A group by its name; where there is none, the nearest names are told.
fn find(api: &Api, name: &str) -> Result<GroupInfo, ControlError> {
    match api.get("look the group up", &routes::one(routes::GROUPS, name)) {
        Err(ControlError::Refused { status: 404, .. }) => {
            let all: Vec<GroupInfo> =
                api.list("list groups", routes::GROUPS, None).unwrap_or_default();
            Err(ControlError::Unknown {
                what: "group",
                name: name.chars().take(80).collect(),
                nearest: words::nearest(name, all.iter().map(|group| group.name.as_str())),
            })
        }
        other => other,
    }
}
