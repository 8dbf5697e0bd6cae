//! The attacks on repositories and permits, made with throw-away keys.

use handover_model::{Permit, ReleaseFacts, Timestamp};
use handover_trust::author::{RootChange, SnapshotDoc, TargetsDoc};
use handover_trust::{Envelope, Memory};

use crate::case::{Attack, Case, FloorsFile};
use crate::world::{Files, LINUX, World, at, component, facts, key, now, signed, version};

/// What an attack starts from: a repository that is published, and a host that follows it.
fn base() -> (World, Memory) {
    let mut world = World::new();
    world.add("web", "1.0.0", 1, b"the first package");
    world.publish();
    let memory = world.followed();
    (world, memory)
}

/// The next release is published.
fn newer(world: &World) -> World {
    let mut world = world.clone();
    world.add("web", "1.1.0", 2, b"the second package");
    world.publish();
    world
}

fn attack(
    name: &'static str,
    expect: &'static str,
    attacker: &'static str,
    about: &'static str,
) -> Attack {
    Attack {
        name,
        expect,
        attacker,
        about,
        now: now(),
        case: Case::Follow,
        before: Memory::default(),
        floors_file: FloorsFile::AsItWas,
        served: Files::new(),
        permit: None,
    }
}

const MIRROR: &str = "the mirror or the network: serves any bytes, holds no key";
const ONLINE: &str = "the online server: holds the snapshot and timestamp keys";
const ONE_RELEASE_KEY: &str = "the online server, and one of two release keys";
const RELEASE: &str = "the release keyholders of another component, and the online server";
const NOBODY: &str = "nobody: this must be accepted";

/// All of them.
pub(crate) fn all() -> Vec<Attack> {
    let mut all = honest();
    all.extend(signatures());
    all.extend(time());
    all.extend(rollback());
    all.extend(memory_loss());
    all.extend(mixing());
    all.extend(roots());
    all.extend(shapes());
    all.extend(components());
    all.extend(targets());
    all.extend(permits());
    all
}

fn honest() -> Vec<Attack> {
    let (world, before) = base();
    let update = Attack {
        before: before.clone(),
        served: newer(&world).files(),
        ..attack("honest-update", "accepted", NOBODY, "A new release is published.")
    };
    let mut fast = world.clone();
    fast.fast_forward(1 << 40);
    let mut recovered = world.clone();
    recovered.rotate_online();
    recovered.publish();
    let recovery = Attack {
        before: fast.followed(),
        served: recovered.files(),
        ..attack(
            "honest-recovery",
            "accepted",
            NOBODY,
            "Online keys were stolen and versions raised far ahead; the next root replaces the \
             keys, and hosts go on from low versions (TUF 1.0.34, 5.3.11).",
        )
    };
    let mut world = world;
    let mut custom = serde_json::to_value(facts("web", "1.2.0", 3)).unwrap();
    custom["platform"] = "plan9-vax".into();
    custom["format"] = 99.into();
    let document = world.components.get_mut(&component("web")).unwrap();
    let digest = handover_model::Digest::of(b"");
    let custom = serde_json::json!({ "handover": custom });
    document.add_file("web/1.2.0/plan9-vax.tar.zst".to_owned(), 0, digest, Some(custom)).unwrap();
    world.publish();
    let unknown = Attack {
        before,
        served: world.files(),
        ..attack(
            "honest-unknown-platform",
            "accepted",
            NOBODY,
            "A package of a later format for a platform that this program has not heard of \
             stands beside those that it knows.",
        )
    };
    vec![update, recovery, unknown]
}

/// Publishes a `web` document with signatures of one's choice, under honest online keys.
fn published_by(world: &World, keys: &[&str], edit: impl Fn(&mut Envelope)) -> Files {
    let mut world = newer(world);
    let document = world.components[&component("web")].clone();
    let mut envelope = Envelope::parse(&signed(&document, keys)).unwrap();
    edit(&mut envelope);
    let role = TargetsDoc::role_of(&component("web"));
    world.published.roles.insert(role, envelope.to_bytes().unwrap());
    world.renew();
    world.files()
}

fn signatures() -> Vec<Attack> {
    let (world, before) = base();
    let unsigned = |name, expect, attacker, about, served| Attack {
        before: before.clone(),
        served,
        ..attack(name, expect, attacker, about)
    };
    let mut lone = newer(&world);
    lone.online = ("snapshot", "stranger");
    lone.renew_timestamp();
    vec![
        unsigned(
            "unsigned-release",
            "unsigned",
            ONLINE,
            "A release that no release key signed.",
            published_by(&world, &[], |_| {}),
        ),
        unsigned(
            "under-threshold-release",
            "under_threshold",
            ONE_RELEASE_KEY,
            "A release that one of two needed release keys signed.",
            published_by(&world, &["web-a"], |_| {}),
        ),
        unsigned(
            "duplicate-signature",
            "duplicate_signature",
            ONE_RELEASE_KEY,
            "One key's signature twice, to reach a threshold of two.",
            published_by(&world, &["web-a"], |envelope| {
                envelope.signatures.push(envelope.signatures[0].clone());
            }),
        ),
        unsigned(
            "one-key-two-names",
            "under_threshold",
            ONE_RELEASE_KEY,
            "One key's signature again under the id of another, to reach a threshold of two.",
            published_by(&world, &["web-a"], |envelope| {
                let mut again = envelope.signatures[0].clone();
                again.keyid = key("web-b").public().id();
                envelope.signatures.push(again);
            }),
        ),
        unsigned(
            "foreign-component-keys",
            "unsigned",
            RELEASE,
            "The release keys of one component sign another's role.",
            published_by(&world, &["db-a", "db-b"], |_| {}),
        ),
        unsigned(
            "changed-after-signing",
            "unsigned",
            ONLINE,
            "A role's content is changed under its signatures.",
            published_by(&world, &["web-a", "web-b"], |envelope| {
                let facts = "/targets/web~11.1.0~1linux-x86_64.tar.zst/custom/handover/sequence";
                *envelope.signed.pointer_mut(facts).unwrap() = 77.into();
            }),
        ),
        unsigned(
            "unsigned-timestamp",
            "unsigned",
            MIRROR,
            "A timestamp that a stranger's key signed.",
            lone.files(),
        ),
    ]
}

fn time() -> Vec<Attack> {
    let (world, before) = base();
    let early = handover_trust::author::Expiry(at("2030-01-10T00:00:00Z"));
    let mut root = World::new();
    root.root.expires = early;
    root.put_root();
    root.publish();
    let mut targets = newer(&world);
    targets.targets.expires = early;
    targets.publish();
    let mut role = newer(&world);
    role.components.get_mut(&component("web")).unwrap().expires = early;
    role.publish();
    let mut snapshot = world.clone();
    snapshot.snapshot_expires = early.0;
    snapshot.renew();
    let expired = |name, about, world: &World, before: &Memory| Attack {
        before: before.clone(),
        served: world.files(),
        ..attack(name, "expired", ONLINE, about)
    };
    vec![
        expired("expired-root", "The newest root has expired.", &root, &root.host()),
        expired("expired-targets", "The targets role has expired.", &targets, &before),
        expired("expired-release-role", "A component's role has expired.", &role, &before),
        expired("expired-snapshot", "The snapshot has expired.", &snapshot, &before),
        Attack {
            before: before.clone(),
            served: world.files(),
            now: at("2030-01-25T00:00:00Z"),
            ..attack(
                "freeze",
                "freeze",
                MIRROR,
                "The last good state is served for ever, so that hosts miss what came after.",
            )
        },
        Attack {
            before,
            served: newer(&world).files(),
            now: at("2031-06-01T00:00:00Z"),
            ..attack(
                "clock-ahead",
                "expired",
                "whoever sets the host's clock",
                "The host's clock is far ahead; the refusal names both times.",
            )
        },
    ]
}

fn rollback() -> Vec<Attack> {
    let (old, _) = base();
    let world = newer(&old);
    let before = world.followed();
    let with = |name, attacker, about, served| Attack {
        before: before.clone(),
        served,
        ..attack(name, "rollback", attacker, about)
    };
    // The timestamp is new and honest in form, but leads to the old snapshot.
    let mut to_old_snapshot = world.clone();
    to_old_snapshot.published.snapshot.clone_from(&old.published.snapshot);
    to_old_snapshot.renew_timestamp();
    let role = TargetsDoc::role_of(&component("web"));
    let to_old_role = |role: &str| {
        let mut world = world.clone();
        world.published.roles.insert(role.to_owned(), old.published.roles[role].clone());
        world.renew();
        world.files()
    };
    vec![
        with("rollback-timestamp", MIRROR, "An older state is served whole.", old.files()),
        with(
            "rollback-snapshot",
            ONLINE,
            "A new timestamp leads to an older snapshot.",
            to_old_snapshot.files(),
        ),
        with(
            "rollback-targets",
            ONLINE,
            "A new snapshot lists an older targets role.",
            to_old_role("targets"),
        ),
        with(
            "rollback-release-role",
            ONLINE,
            "A new snapshot lists an older role of the component.",
            to_old_role(&role),
        ),
    ]
}

fn memory_loss() -> Vec<Attack> {
    let (old, _) = base();
    let mut world = old.clone();
    world.rotate_root();
    world.add("web", "1.1.0", 2, b"the second package");
    world.publish();
    let whole = world.followed();
    let cut = |names: &[&str]| {
        let mut memory = whole.clone();
        for name in names {
            memory.files.get_mut(*name).unwrap().truncate(200);
        }
        memory
    };
    let with = |name, expect, about, before: Memory| Attack {
        before,
        served: old.files(),
        ..attack(name, expect, MIRROR, about)
    };
    let mut gone = whole.clone();
    gone.files.clear();
    let sealed = whole.floors.seal().unwrap();
    let mut same_root = whole.clone();
    same_root.files.retain(|name, _| name == "root.json");
    let mut current_root = old.clone();
    current_root.published.roots = world.published.roots.clone();
    vec![
        with(
            "truncated-timestamp-then-rollback",
            "rollback",
            "The kept timestamp is cut short, then an older state is served.",
            cut(&["timestamp.json"]),
        ),
        with(
            "truncated-everything-then-rollback",
            "rollback",
            "Every kept file is cut short, then an older state is served.",
            cut(&[
                "root.json",
                "timestamp.json",
                "snapshot.json",
                "targets.json",
                "component-web.json",
            ]),
        ),
        with(
            "truncated-root-then-old-root",
            "rollback",
            "The kept root is cut short, and newer roots are withheld.",
            cut(&["root.json"]),
        ),
        with(
            "lost-files-then-rollback",
            "rollback",
            "Every kept file is lost, then an older state is served.",
            gone.clone(),
        ),
        Attack {
            served: current_root.files(),
            ..with(
                "lost-roles-then-rollback",
                "rollback",
                "All but the root is lost, then an older state under the same root is served.",
                same_root,
            )
        },
        Attack {
            floors_file: FloorsFile::Replaced(sealed[..sealed.len() / 2].to_vec()),
            ..with(
                "truncated-floors",
                "damaged_floors",
                "The record of accepted versions is cut short; that is never taken as none.",
                gone.clone(),
            )
        },
        Attack {
            floors_file: FloorsFile::Gone,
            ..with(
                "lost-floors",
                "missing_floors",
                "The record of accepted versions is gone from a host that was set up.",
                gone,
            )
        },
    ]
}

fn mixing() -> Vec<Attack> {
    let (old, before) = base();
    let world = newer(&old);
    let with = |name, expect, attacker, about, before: &Memory, served| Attack {
        before: before.clone(),
        served,
        ..attack(name, expect, attacker, about)
    };
    let swapped = |name: &str, other: &str| {
        let mut files = world.files();
        let bytes = old.files()[&format!("metadata/{other}")].clone();
        files.insert(format!("metadata/{name}"), bytes);
        files
    };
    let mut other_time = world.clone();
    other_time.timestamp_expires = at("2030-01-23T00:00:00Z");
    let mut timestamp = other_time.published.timestamp().unwrap();
    timestamp.expires = handover_trust::author::Expiry(at("2030-01-23T00:00:00Z"));
    other_time.published.timestamp = Some(signed(&timestamp, &["timestamp"]));
    let mut dropped = world.clone();
    let mut snapshot = dropped.published.snapshot().unwrap();
    snapshot.version += 1;
    snapshot.meta.remove("component-web.json");
    dropped.published.snapshot = Some(signed::<SnapshotDoc>(&snapshot, &["snapshot"]));
    dropped.renew_timestamp();
    let mut missing = world.files();
    missing.remove("metadata/2.snapshot.json");
    vec![
        with(
            "mixed-snapshot",
            "mix_and_match",
            MIRROR,
            "The new timestamp together with the old snapshot under the new name.",
            &before,
            swapped("2.snapshot.json", "1.snapshot.json"),
        ),
        with(
            "mixed-release-role",
            "mix_and_match",
            MIRROR,
            "The new snapshot together with the component's old role under the new name.",
            &before,
            swapped("2.component-web.json", "1.component-web.json"),
        ),
        with(
            "mixed-targets",
            "mix_and_match",
            MIRROR,
            "Another role's file under the name of the targets role.",
            &before,
            swapped("2.targets.json", "1.component-db.json"),
        ),
        with(
            "equivocation",
            "equivocation",
            ONLINE,
            "A timestamp of the same version with other content than this host has seen.",
            &world.followed(),
            other_time.files(),
        ),
        with(
            "vanished-role",
            "vanished",
            ONLINE,
            "The snapshot no longer lists a component's role.",
            &world.followed(),
            dropped.files(),
        ),
        with("missing-snapshot", "missing", MIRROR, "The snapshot is withheld.", &before, missing),
    ]
}

fn roots() -> Vec<Attack> {
    let (world, before) = base();
    let mut next = world.clone();
    next.rotate_root();
    next.publish();
    let serve = |bytes: Vec<u8>| {
        let mut files = next.files();
        files.insert("metadata/2.root.json".to_owned(), bytes);
        files
    };
    let with = |name, expect, attacker, about, served| Attack {
        before: before.clone(),
        served,
        ..attack(name, expect, attacker, about)
    };
    let mut gap = next.root.clone();
    gap.version = 3;
    let lowered = RootChange { threshold: Some(1), ..RootChange::default() };
    let lowered = world.root.next(&lowered, world.root.expires).unwrap();
    let mut mine = world.root.clone();
    mine.version = 2;
    let stranger = key("stranger").public();
    mine.keys.insert(stranger.id(), stranger.clone());
    for role in mine.roles.values_mut() {
        role.keyids = vec![stranger.id()];
        role.threshold = 1;
    }
    let half = RootChange {
        add: vec![stranger.clone()],
        remove: vec![key("root-a").public().id(), key("root-b").public().id()],
        ..RootChange::default()
    };
    let half = world.root.next(&half, world.root.expires).unwrap();
    vec![
        with(
            "replayed-root",
            "rollback",
            MIRROR,
            "The first root again, under the second's name.",
            serve(world.published.roots[&1].clone()),
        ),
        with(
            "root-gap",
            "root_gap",
            MIRROR,
            "A root that leaves one version out, so that a rotation between is skipped.",
            serve(signed(&gap, &["root-a", "root-b", "root-d"])),
        ),
        with(
            "root-threshold-lowered",
            "under_threshold",
            "one of three root keys",
            "A root that lowers the threshold to one, signed by one.",
            serve(signed(&lowered, &["root-a"])),
        ),
        with(
            "root-of-a-stranger",
            "unsigned",
            MIRROR,
            "A root that names a stranger's keys and that the stranger signed.",
            serve(signed(&mine, &["stranger"])),
        ),
        with(
            "root-signed-by-old-keys-alone",
            "under_threshold",
            "the old root keys",
            "A root whose own new keys fall short of its threshold.",
            serve(signed(&half, &["root-a", "root-b", "root-c"])),
        ),
    ]
}

fn shapes() -> Vec<Attack> {
    let (world, before) = base();
    let served = |edit: &dyn Fn(&mut Files)| {
        let mut files = newer(&world).files();
        edit(&mut files);
        files
    };
    let with = |name, expect, about, served| Attack {
        before: before.clone(),
        served,
        ..attack(name, expect, MIRROR, about)
    };
    let put = |name: &'static str, bytes: Vec<u8>| {
        served(&|files: &mut Files| {
            files.insert(format!("metadata/{name}"), bytes.clone());
        })
    };
    let padded = |name: &str, more: usize| {
        let mut bytes = newer(&world).files()[&format!("metadata/{name}")].clone();
        bytes.resize(bytes.len() + more, b' ');
        bytes
    };
    let mut spec = newer(&world).published.timestamp().unwrap();
    "2.0.0".clone_into(&mut spec.spec_version);
    let float = br#"{"signatures": [], "signed": {"_type": "timestamp", "version": 1.5}}"#;
    vec![
        with(
            "endless-timestamp",
            "endless",
            "A timestamp that goes on and on; the bound is 16384 bytes.",
            put("timestamp.json", padded("timestamp.json", 16_384)),
        ),
        with(
            "endless-snapshot",
            "endless",
            "A snapshot that is longer than the timestamp says.",
            put("2.snapshot.json", padded("2.snapshot.json", 1)),
        ),
        with(
            "endless-release-role",
            "endless",
            "A component's role that is longer than the snapshot says.",
            put("2.component-web.json", padded("2.component-web.json", 1)),
        ),
        with(
            "garbage",
            "malformed",
            "A page of another kind.",
            put("timestamp.json", b"<html>".to_vec()),
        ),
        with(
            "fraction",
            "malformed",
            "A version with a fraction.",
            put("timestamp.json", float.to_vec()),
        ),
        with(
            "deep-nesting",
            "malformed",
            "Thousands of brackets, to exhaust the parser's stack.",
            put("timestamp.json", vec![b'['; 10_000]),
        ),
        with(
            "other-specification",
            "malformed",
            "Metadata of another major version of the specification.",
            put("timestamp.json", signed(&spec, &["timestamp"])),
        ),
        with(
            "wrong-type",
            "malformed",
            "The snapshot in place of the timestamp, signed by its own key.",
            put("timestamp.json", newer(&world).published.snapshot.unwrap()),
        ),
    ]
}

/// A world whose `web` role says something odd, honestly signed.
fn saying(edit: impl Fn(&mut ReleaseFacts), path: Option<&str>) -> (Files, Memory) {
    let (mut world, before) = base();
    let mut odd = facts("web", "1.1.0", 2);
    let honest = TargetsDoc::path_of(&odd);
    edit(&mut odd);
    let custom = serde_json::json!({ "handover": odd });
    let digest = handover_model::Digest::of(b"odd");
    let path = path.map_or(honest, str::to_owned);
    let document = world.components.get_mut(&component("web")).unwrap();
    document.add_file(path, 3, digest, Some(custom)).unwrap();
    world.publish();
    (world.files(), before)
}

fn components() -> Vec<Attack> {
    let odd = |name, expect, about, (served, before): (Files, Memory)| Attack {
        before,
        served,
        ..attack(name, expect, "the component's own release keyholders", about)
    };
    let (mut broken, before) = base();
    let document = broken.components.get_mut(&component("web")).unwrap();
    let custom = serde_json::json!({ "handover": { "format": 1, "platform": LINUX } });
    let path = "web/1.1.0/linux-x86_64.tar.zst".to_owned();
    document.add_file(path, 3, handover_model::Digest::of(b"odd"), Some(custom)).unwrap();
    broken.publish();
    let (world, _) = base();
    let mut removed = world.clone();
    removed.targets.remove_component(&component("web")).unwrap();
    removed.publish();
    vec![
        odd(
            "foreign-path",
            "wrong_component",
            "A component's role lists another component's path.",
            saying(|_| {}, Some("db/1.1.0/linux-x86_64.tar.zst")),
        ),
        odd(
            "climbing-path",
            "wrong_component",
            "A component's role lists a path with `..`.",
            saying(|_| {}, Some("web/../linux-x86_64.tar.zst")),
        ),
        odd(
            "facts-of-another-component",
            "contradiction",
            "A package's facts speak of another component than its path.",
            saying(|facts| facts.component = component("db"), None),
        ),
        odd(
            "facts-of-another-version",
            "contradiction",
            "A package's facts speak of another version than its path.",
            saying(|facts| facts.version = version("9.9.9"), None),
        ),
        odd(
            "facts-of-another-platform",
            "contradiction",
            "A package's facts speak of another platform than its path.",
            saying(|facts| facts.platform = "linux-aarch64".parse().unwrap(), None),
        ),
        odd(
            "facts-without-sequence",
            "contradiction",
            "A package's facts place it nowhere in the order of production.",
            saying(|facts| facts.sequence = 0, None),
        ),
        odd(
            "broken-facts",
            "malformed",
            "A package's facts lack what every release has.",
            (broken.files(), before),
        ),
        Attack {
            before: world.followed(),
            served: removed.files(),
            ..attack(
                "revoked-role",
                "unknown_role",
                NOBODY_TRUSTS,
                "The root keyholders took the component's role away; its old releases are no \
                 longer trusted.",
            )
        },
    ]
}

const NOBODY_TRUSTS: &str = "the former release keyholders of a component";

fn targets() -> Vec<Attack> {
    let (world, before) = base();
    let world = newer(&world);
    let path = "web/1.1.0/linux-x86_64.tar.zst";
    let install = |release: &str, platform: &str| Case::Install {
        component: component("web"),
        version: version(release),
        platform: platform.parse().unwrap(),
    };
    let with = |name, expect, about, bytes: Option<&[u8]>, case| {
        let mut files = world.files();
        let served = files
            .keys()
            .find(|name| name.ends_with("linux-x86_64.tar.zst") && name.contains("web/1.1.0"))
            .cloned()
            .unwrap();
        if let Some(bytes) = bytes {
            files.insert(served, bytes.to_vec());
        }
        Attack {
            before: before.clone(),
            served: files,
            case,
            ..attack(name, expect, MIRROR, about)
        }
    };
    let mut revoked = world.clone();
    let document = revoked.components.get_mut(&component("web")).unwrap();
    document.revoke(&component("web"), &version("1.1.0"), "it loses data").unwrap();
    revoked.publish();
    assert!(world.targets.components().len() == 2 && path.starts_with("web"));
    let now_installs = install("1.1.0", LINUX);
    vec![
        with("honest-package", "accepted", "The package itself.", None, now_installs.clone()),
        with(
            "package-of-wrong-digest",
            "wrong_hash",
            "A package with a byte changed.",
            Some(b"the sECOND package".as_slice()),
            now_installs.clone(),
        ),
        with(
            "package-too-long",
            "wrong_length",
            "A package with more bytes than signed.",
            Some(b"the second package and more".as_slice()),
            now_installs.clone(),
        ),
        with(
            "package-cut-short",
            "wrong_length",
            "A package that ends early.",
            Some(b"the second".as_slice()),
            now_installs.clone(),
        ),
        with(
            "package-of-another-component",
            "wrong_length",
            "Another component's package under this one's name.",
            Some(b"the database's package".as_slice()),
            now_installs.clone(),
        ),
        with(
            "package-of-an-older-release",
            "wrong_length",
            "An older release's package under the newer one's name.",
            Some(b"the first package".as_slice()),
            now_installs.clone(),
        ),
        with(
            "wrong-platform",
            "platform_missing",
            "The release exists for another processor alone.",
            None,
            install("1.1.0", "linux-aarch64"),
        ),
        with(
            "unlisted-release",
            "unknown_target",
            "A release that nobody signed is asked for.",
            None,
            install("6.6.6", LINUX),
        ),
        Attack {
            served: revoked.files(),
            ..with(
                "revoked-release",
                "revoked",
                "A release that its keyholders took back.",
                None,
                now_installs,
            )
        },
    ]
}

fn permits() -> Vec<Attack> {
    let (world, before) = base();
    let permit = |edit: &dyn Fn(&mut Permit), keys: &[&str]| {
        let mut permit = Permit {
            type_: Permit::TYPE.to_owned(),
            id: "order_0190163d8694739bb60e5f1e21b6a2c5".parse().unwrap(),
            component: component("web"),
            agents: vec!["host-1".parse().unwrap()],
            to: version("1.0.0"),
            reason: "the new one loses data".to_owned(),
            expires: at("2030-01-16T00:00:00Z"),
        };
        edit(&mut permit);
        signed(&permit, keys)
    };
    let both = ["web-a", "web-b"];
    let with = |name, expect, attacker, about, now: Timestamp, permit: Vec<u8>| Attack {
        before: before.clone(),
        served: world.files(),
        case: Case::Permit { component: component("web"), agent: "host-1".parse().unwrap() },
        permit: Some(permit),
        now,
        ..attack(name, expect, attacker, about)
    };
    let thief = "whoever got hold of a permit";
    let other_document = world.published.roles["component-web"].clone();
    let duplicate = {
        let mut envelope = Envelope::parse(&permit(&|_| {}, &["web-a"])).unwrap();
        envelope.signatures.push(envelope.signatures[0].clone());
        envelope.to_bytes().unwrap()
    };
    vec![
        with(
            "honest-permit",
            "accepted",
            NOBODY,
            "A permit for this agent.",
            now(),
            permit(&|_| {}, &both),
        ),
        with(
            "permit-for-another-agent",
            "foreign_agent",
            thief,
            "A permit for another agent.",
            now(),
            permit(&|p| p.agents = vec!["host-2".parse().unwrap()], &both),
        ),
        with(
            "permit-for-nobody",
            "foreign_agent",
            thief,
            "A permit that names no agent is for none, never for all.",
            now(),
            permit(&|p| p.agents.clear(), &both),
        ),
        with(
            "permit-expired",
            "expired",
            thief,
            "A permit that has expired.",
            at("2030-01-17T00:00:00Z"),
            permit(&|_| {}, &both),
        ),
        with(
            "permit-under-threshold",
            "under_threshold",
            "one of two release keys",
            "A permit that one of two needed keys signed.",
            now(),
            permit(&|_| {}, &["web-a"]),
        ),
        with(
            "permit-signed-twice",
            "duplicate_signature",
            "one of two release keys",
            "A permit with one key's signature twice.",
            now(),
            duplicate,
        ),
        with(
            "permit-unsigned",
            "unsigned",
            MIRROR,
            "A permit that nobody signed.",
            now(),
            permit(&|_| {}, &[]),
        ),
        with(
            "permit-for-another-component",
            "foreign_component",
            thief,
            "A permit for another component, signed by this one's keys.",
            now(),
            permit(&|p| p.component = component("db"), &both),
        ),
        with(
            "permit-of-other-keys",
            "unsigned",
            RELEASE,
            "A permit for this component, signed by another's keys.",
            now(),
            permit(&|_| {}, &["db-a", "db-b"]),
        ),
        with(
            "permit-of-another-type",
            "malformed",
            thief,
            "Another document of the same signers in place of a permit.",
            now(),
            other_document,
        ),
    ]
}
