//! Agents: names, generations, reports, and lists.

use std::collections::BTreeSet;

use handover_model::api::AgentState;
use handover_model::wire::{ComponentState, HostState, Proof, QuarantinedState};
use handover_model::{Digest, Millis, Mode, Platform, ReleaseId, Version};
use handover_store::agents::{self, Filter};
use handover_store::{AgentKey, Store, StoreError};

use crate::rig::{
    Rig, agent, agent_id, at, at_once, enrol, enrol_with, labels, new_agent, on_both_databases,
    parsed, read, session_id, write,
};

on_both_databases! {
    an_agent_is_read_back_as_it_enrolled,
    a_name_belongs_to_one_living_agent,
    a_stale_change_is_refused_and_changes_nothing,
    pages_stay_stable_while_agents_are_added,
    a_list_is_filtered_by_all_that_is_given,
    lists_follow_new_labels_names_and_reports,
    an_inventory_counts_what_runs_where,
    a_new_secret_leaves_the_old_one_until_it_is_used,
    sequences_are_drawn_once_each,
    residents_are_all_that_are_not_retired,
    the_silent_are_found_page_by_page,
    a_place_of_another_list_is_refused,
}

fn release(version: &str) -> ReleaseId {
    ReleaseId { version: parsed(version), digest: Digest::of(version.as_bytes()) }
}

pub(crate) fn component(name: &str, version: &str) -> ComponentState {
    let current = release(version);
    ComponentState {
        component: parsed(name),
        sequence: Some(1),
        proof: Some(Proof {
            release: current.clone(),
            executable: Digest::of(b"executable"),
            proved: true,
            pid: 7,
            ready: true,
            boot: "boot".to_owned(),
        }),
        current: Some(current),
        trial: None,
        previous: Vec::new(),
        quarantine: Vec::new(),
        mode: Mode::Manual,
        channel: "stable".to_owned(),
        pin: None,
        control_pin: None,
        floor: None,
        outlook: None,
    }
}

pub(crate) fn host(components: Vec<ComponentState>) -> HostState {
    HostState {
        name: parsed("host"),
        platform: Platform::of_this_build(),
        agent_version: Version::new(1, 2, 3),
        boot: "boot".to_owned(),
        facts: labels(&[("os", "debian")]),
        components,
    }
}

fn report(store: &Store, key: AgentKey, number: u64, components: Vec<ComponentState>) {
    let state = host(components);
    let digest = Digest::of(&number.to_be_bytes());
    write(store, move |tx| agents::put_state(tx, key, number, &digest, &state, at(5))).unwrap();
}

fn names(store: &Store, filter: &Filter) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None::<String>);
    loop {
        let (place, filter) = (after.clone(), filter.clone());
        let page = read(store, move |tx| agents::list(tx, &filter, place.as_deref(), 3)).unwrap();
        names.extend(page.items.iter().map(|agent| agent.name.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => return names,
        }
    }
}

fn an_agent_is_read_back_as_it_enrolled(rig: &Rig) {
    let store = rig.open();
    let mut new = new_agent(1, "web-1", labels(&[("site", "a"), ("tier", "front")]));
    new.ephemeral_after = Some(Millis(60_000));
    let enrolled = new.clone();
    let key = write(&store, move |tx| agents::insert(tx, &enrolled, at(0))).unwrap();
    let found = agent(&store, key);
    assert_eq!((found.id, &found.name, found.state), (new.id, &new.name, AgentState::Present));
    assert_eq!((&found.labels, &found.public_key), (&new.labels, &new.public_key));
    assert_eq!((found.secret, found.secret_before), (new.secret, None));
    assert_eq!((found.session, found.session_before), (Some(new.session), None));
    assert_eq!((found.ephemeral_after, found.generation), (new.ephemeral_after, 1));
    assert_eq!((found.last_seen, found.open_orders, found.sequence), (Some(at(0)), 0, 0));
    let (id, name, digest) = (new.id, new.name.clone(), new.key_digest);
    assert_eq!(read(&store, move |tx| agents::get(tx, id)).unwrap().as_ref(), Some(&found));
    let by_name = read(&store, move |tx| agents::by_name(tx, &name)).unwrap();
    assert_eq!(by_name.as_ref(), Some(&found));
    let by_key = read(&store, move |tx| agents::by_public_key(tx, &digest)).unwrap();
    assert_eq!(by_key.as_ref(), Some(&found));
    assert_eq!(read(&store, |tx| agents::get(tx, agent_id(2))).unwrap(), None);
}

fn a_name_belongs_to_one_living_agent(rig: &Rig) {
    let store = rig.open();
    let first = enrol(&store, 1, "web-1");
    let second = new_agent(2, "web-1", labels(&[]));
    let again = second.clone();
    let refused = write(&store, move |tx| agents::insert(tx, &again, at(1)));
    assert!(matches!(refused, Err(StoreError::Constraint { .. })), "{refused:?}");
    let retire = |state| {
        write(&store, move |tx| agents::set_standing(tx, first, state, Some("gone"), at(2)))
    };
    retire(AgentState::Retired).unwrap();
    let key = write(&store, move |tx| agents::insert(tx, &second, at(3))).unwrap();
    assert_ne!(key, first);
    let name = parsed("web-1");
    assert_eq!(read(&store, move |tx| agents::by_name(tx, &name)).unwrap().unwrap().key, key);
    let gone = agent(&store, first);
    assert_eq!((gone.retired_at, gone.note.as_deref()), (Some(at(2)), Some("gone")));
    assert_eq!(names(&store, &Filter::default()), ["web-1"]);
    let all = Filter { with_retired: true, ..Filter::default() };
    assert_eq!(names(&store, &all), ["web-1", "web-1"]);
    let refused = retire(AgentState::Present);
    assert!(matches!(refused, Err(StoreError::Constraint { .. })), "{refused:?}");
}

fn a_stale_change_is_refused_and_changes_nothing(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let (mut first, mut second) = (agent(&store, key), agent(&store, key));
    first.labels = labels(&[("by", "first")]);
    second.labels = labels(&[("by", "second")]);
    let generation = write(&store, move |tx| agents::save(tx, &first, at(1))).unwrap();
    assert_eq!(generation, 2);
    let refused = write(&store, move |tx| agents::save(tx, &second, at(2))).unwrap_err();
    assert!(
        matches!(refused, StoreError::Stale { what: "agent", expected: 1, found: 2, .. }),
        "{refused}"
    );
    assert_eq!(agent(&store, key).labels, labels(&[("by", "first")]));
}

fn pages_stay_stable_while_agents_are_added(rig: &Rig) {
    let store = rig.open();
    for number in 0..20 {
        enrol(&store, number, &format!("m-{number:03}"));
    }
    let page = |after: Option<String>| {
        read(&store, move |tx| agents::list(tx, &Filter::default(), after.as_deref(), 6)).unwrap()
    };
    let (mut seen, mut after, mut more) = (Vec::new(), None, 100);
    loop {
        let found = page(after);
        seen.extend(found.items.iter().map(|agent| agent.name.to_string()));
        if found.next.is_none() {
            break;
        }
        after = found.next;
        // Before, between and after what was seen.
        for name in ["a", "m-007-x", "z"] {
            enrol(&store, more, &format!("{name}-{more}"));
            more += 1;
        }
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "nobody twice");
    assert!(seen.is_sorted());
    let first_ones: Vec<_> =
        seen.iter().filter(|name| name.starts_with("m-") && name.len() == 5).collect();
    assert_eq!(first_ones.len(), 20, "nobody left out: {seen:?}");
}

fn a_list_is_filtered_by_all_that_is_given(rig: &Rig) {
    let store = rig.open();
    for number in 0..12 {
        let site = if number % 2 == 0 { "a" } else { "b" };
        let tier = if number % 3 == 0 { "front" } else { "back" };
        let name = format!("{}-{number:02}", if number < 6 { "db" } else { "web" });
        let key = enrol_with(&store, number, &name, labels(&[("site", site), ("tier", tier)]));
        let version = if number % 4 == 0 { "2.0.0" } else { "1.0.0" };
        report(&store, key, 1, vec![component("app", version)]);
        if number == 4 {
            let state = AgentState::Cloned;
            write(&store, move |tx| agents::set_standing(tx, key, state, None, at(9))).unwrap();
        }
    }
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let filtered = |filter: Filter| names(&store, &filter);
    let site_a = Filter { labels: vec![label("site", "a")], ..Filter::default() };
    assert_eq!(filtered(site_a), ["db-00", "db-02", "db-04", "web-06", "web-08", "web-10"]);
    let both = vec![label("site", "a"), label("tier", "front")];
    assert_eq!(filtered(Filter { labels: both.clone(), ..Filter::default() }), ["db-00", "web-06"]);
    let prefix = Some("web-".to_owned());
    let narrow = Filter { labels: both, name_prefix: prefix.clone(), ..Filter::default() };
    assert_eq!(filtered(narrow), ["web-06"]);
    let of_version = |version: Option<&str>| Filter {
        component: Some((parsed("app"), version.map(parsed))),
        name_prefix: prefix.clone(),
        ..Filter::default()
    };
    assert_eq!(filtered(of_version(Some("2.0.0"))), ["web-08"]);
    assert_eq!(filtered(of_version(None)).len(), 6);
    assert_eq!(filtered(of_version(Some("3.0.0"))), Vec::<String>::new());
    let cloned = Filter { state: Some(AgentState::Cloned), ..Filter::default() };
    assert_eq!(filtered(cloned), ["db-04"]);
    assert_eq!(filtered(Filter::default()).len(), 12);
}

fn lists_follow_new_labels_names_and_reports(rig: &Rig) {
    let store = rig.open();
    let key = enrol_with(&store, 1, "old", labels(&[("site", "a")]));
    report(&store, key, 1, vec![component("app", "1.0.0"), component("db", "5.0.0")]);
    let mut changed = agent(&store, key);
    changed.name = parsed("new");
    changed.labels = labels(&[("site", "b")]);
    write(&store, move |tx| agents::save(tx, &changed, at(1))).unwrap();
    report(&store, key, 2, vec![component("app", "2.0.0")]);
    let by_label = |value: &str| Filter {
        labels: vec![("site".to_owned(), value.to_owned())],
        ..Filter::default()
    };
    assert_eq!(names(&store, &by_label("a")), Vec::<String>::new());
    assert_eq!(names(&store, &by_label("b")), ["new"]);
    let by_version = |name: &str, version: &str| Filter {
        component: Some((parsed(name), Some(parsed(version)))),
        ..Filter::default()
    };
    assert_eq!(names(&store, &by_version("app", "2.0.0")), ["new"]);
    assert_eq!(names(&store, &by_version("app", "1.0.0")), Vec::<String>::new());
    assert_eq!(names(&store, &by_version("db", "5.0.0")), Vec::<String>::new());
    let found = agent(&store, key);
    assert_eq!((found.state_number, found.reported_at), (Some(2), Some(at(5))));
    assert_eq!(found.agent_version, Version::new(1, 2, 3));
    assert!(found.components.len() == 1 && found.components[0].proved);
}

fn an_inventory_counts_what_runs_where(rig: &Rig) {
    let store = rig.open();
    enrol(&store, 9, "never-reported");
    for number in 0..4 {
        let key = enrol(&store, number, &format!("host-{number}"));
        let mut app = component("app", if number == 0 { "10.0.0" } else { "9.0.0" });
        if number == 1 {
            app.proof = None;
        }
        if number == 2 {
            app.trial = Some(release("10.0.0"));
        }
        if number == 3 {
            let reason = "it failed".to_owned();
            app.quarantine =
                vec![QuarantinedState { release: release("10.0.0"), reason, at: at(1) }];
        }
        report(&store, key, 1, vec![app]);
    }
    let inventory = read(&store, |tx| agents::inventory(tx, at(3))).unwrap();
    assert_eq!((inventory.at, inventory.agents, inventory.unreported), (at(3), 5, 1));
    let [app] = inventory.components.as_slice() else { panic!("{inventory:?}") };
    let counts: Vec<_> = app
        .versions
        .iter()
        .map(|one| {
            let version = one.version.as_ref().unwrap().to_string();
            (version, [one.agents, one.proved, one.on_trial, one.quarantined])
        })
        .collect();
    let expected = [("10.0.0".to_owned(), [1, 1, 1, 1]), ("9.0.0".to_owned(), [3, 2, 0, 0])];
    assert_eq!(counts, expected);
    let states = read(&store, agents::count_by_state).unwrap();
    assert_eq!(states.into_iter().collect::<Vec<_>>(), [(AgentState::Present, 5)]);
}

fn a_new_secret_leaves_the_old_one_until_it_is_used(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let (old, new) = (agent(&store, key).secret, Digest::of(b"new"));
    write(&store, move |tx| agents::renew_secret(tx, key, &new)).unwrap();
    let found = agent(&store, key);
    assert_eq!((found.secret, found.secret_before), (new, Some(old)));
    write(&store, move |tx| agents::forget_secret_before(tx, key)).unwrap();
    assert_eq!(agent(&store, key).secret_before, None);
    let machine = Digest::of(b"other machine");
    let version = Version::new(2, 0, 0);
    let before = agent(&store, key).session;
    write(&store, move |tx| agents::set_session(tx, key, session_id(2), &machine, &version))
        .unwrap();
    let found = agent(&store, key);
    assert_eq!((found.session, found.session_before), (Some(session_id(2)), before));
    assert_eq!(found.machine, machine);
}

fn sequences_are_drawn_once_each(rig: &Rig) {
    let store = rig.open();
    let key = enrol(&store, 1, "web-1");
    let drawn = std::sync::Mutex::new(BTreeSet::new());
    at_once(4, |_| {
        for _ in 0..10 {
            let number = loop {
                match write(&store, move |tx| agents::next_sequence(tx, key)) {
                    Ok(number) => break number,
                    Err(error) => assert!(matches!(error, StoreError::Contended { .. }), "{error}"),
                }
            };
            assert!(drawn.lock().unwrap().insert(number), "{number} twice");
        }
    });
    assert_eq!(drawn.into_inner().unwrap(), (1..=40).collect());
    let nobody = AgentKey::from_i64(999);
    let absent = write(&store, move |tx| agents::next_sequence(tx, nobody));
    assert!(matches!(absent, Err(StoreError::Absent { .. })));
    for number in [5, 3] {
        write(&store, move |tx| agents::acknowledge(tx, key, number)).unwrap();
    }
    assert_eq!(agent(&store, key).acknowledged, 5);
}

fn residents_are_all_that_are_not_retired(rig: &Rig) {
    let store = rig.open();
    let keys: Vec<_> =
        (0..7).map(|number| enrol(&store, number, &format!("host-{number}"))).collect();
    let gone = keys[3];
    write(&store, move |tx| agents::set_standing(tx, gone, AgentState::Retired, None, at(1)))
        .unwrap();
    let (mut found, mut after) = (Vec::new(), AgentKey::from_i64(0));
    loop {
        let page = read(&store, move |tx| agents::residents(tx, after, 2)).unwrap();
        let Some(last) = page.last() else { break };
        after = last.key;
        found.extend(page);
    }
    let expected: Vec<_> = keys.iter().filter(|key| **key != gone).copied().collect();
    assert_eq!(found.iter().map(|resident| resident.key).collect::<Vec<_>>(), expected);
    assert_eq!(found[0].secret, agent(&store, keys[0]).secret);
    assert_eq!((found[0].last_seen, found[0].has_open_orders), (at(0), false));
}

fn the_silent_are_found_page_by_page(rig: &Rig) {
    let store = rig.open();
    let keys: Vec<_> =
        (0..5).map(|number| enrol(&store, number, &format!("host-{number}"))).collect();
    for key in [keys[1], keys[4]] {
        crate::rig::wait_for(store.touch(key, at(100))).unwrap();
    }
    let (mut found, mut after) = (Vec::new(), AgentKey::from_i64(0));
    loop {
        let page = read(&store, move |tx| agents::silent_since(tx, at(50), after, 2)).unwrap();
        let is_last = page.len() < 2;
        after = page.last().map_or(after, |silent| silent.key);
        found.extend(page.iter().map(|silent| silent.key));
        if is_last {
            break;
        }
    }
    assert_eq!(found, [keys[0], keys[2], keys[3]]);
}

fn a_place_of_another_list_is_refused(rig: &Rig) {
    let store = rig.open();
    for bad in ["", "web-1", "web-1/x", "' OR 1=1 --"] {
        let refused = read(&store, move |tx| agents::list(tx, &Filter::default(), Some(bad), 3));
        assert!(matches!(refused, Err(StoreError::Cursor { .. })), "{bad}: {refused:?}");
    }
}
