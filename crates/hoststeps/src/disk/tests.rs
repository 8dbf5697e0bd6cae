//! On real files, in a directory of each test's own.

use std::os::unix::fs::PermissionsExt;

use camino::Utf8PathBuf;
use handover_model::Slots;

use super::*;
use crate::Published;

struct Place {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    Place { _dir: dir, path }
}

fn generation(number: u64) -> Slots {
    Slots { generation: number, ..Slots::default() }
}

fn store_with(place: &Place, newest: u64) -> SlotsStore {
    let store = SlotsStore::new(place.path.join("slots"));
    for number in 1..=newest {
        assert_eq!(store.publish(&generation(number)).unwrap(), Published::Ours);
    }
    store
}

#[test]
fn a_written_file_has_its_content_and_mode_and_leaves_nothing_beside_it() {
    let place = place();
    let path = place.path.join("file");
    write(&path, b"old", 0o600).unwrap();
    write(&path, b"new", 0o755).unwrap();
    assert_eq!(read(&path).unwrap().unwrap(), b"new");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(place.path.read_dir_utf8().unwrap().count(), 1);
}

#[test]
fn a_write_that_fails_leaves_the_old_content_and_nothing_beside_it() {
    let place = place();
    let path = place.path.join("file");
    make_dir(&path.join("in-the-way")).unwrap();
    let error = write(&path, b"new", 0o644).unwrap_err();
    assert!(matches!(error, HostError::Io { act: "replace", .. }), "{error}");
    assert_eq!(place.path.read_dir_utf8().unwrap().count(), 1);
}

#[test]
fn a_file_larger_than_the_limit_is_named_and_not_read() {
    let place = place();
    let path = place.path.join("large");
    File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    assert!(matches!(read(&path), Err(HostError::Surprise { .. })));
}

#[test]
fn rename_replaces_nothing() {
    let place = place();
    let (from, to) = (place.path.join("from"), place.path.join("to"));
    write(&from, b"from", 0o644).unwrap();
    write(&to, b"to", 0o644).unwrap();
    assert!(matches!(rename(&from, &to), Err(HostError::Surprise { .. })));
    assert_eq!(read(&to).unwrap().unwrap(), b"to");
    remove_tree(&to).unwrap();
    rename(&from, &to).unwrap();
    assert_eq!(read(&to).unwrap().unwrap(), b"from");
}

#[test]
fn a_copied_tree_has_the_same_digest_and_shares_nothing() {
    let place = place();
    let (from, to) = (place.path.join("from"), place.path.join("to"));
    make_dir(&from.join("a/b")).unwrap();
    write(&from.join("a/b/c"), b"content", 0o640).unwrap();
    std::os::unix::fs::symlink("a/b/c", from.join("link")).unwrap();
    copy_tree(&from, &to).unwrap();
    assert_eq!(digest_tree(&from).unwrap(), digest_tree(&to).unwrap());
    write(&to.join("a/b/c"), b"changed", 0o640).unwrap();
    assert_ne!(digest_tree(&from).unwrap(), digest_tree(&to).unwrap());
    assert!(matches!(copy_tree(&from, &to), Err(HostError::Surprise { .. })));
}

#[test]
fn a_copy_that_fails_half_way_leaves_nothing() {
    let place = place();
    let (from, to) = (place.path.join("from"), place.path.join("to"));
    make_dir(&from).unwrap();
    write(&from.join("a"), b"content", 0o640).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(from.join("z-socket")).unwrap();
    assert!(matches!(copy_tree(&from, &to), Err(HostError::Surprise { .. })));
    assert_eq!(place.path.read_dir_utf8().unwrap().count(), 1);
}

#[test]
fn a_digest_notices_name_mode_and_content() {
    let place = place();
    let mut seen = std::collections::BTreeSet::new();
    for (name, mode, content) in
        [("a", 0o644, "x"), ("b", 0o644, "x"), ("b", 0o755, "x"), ("b", 0o755, "y")]
    {
        let dir = place.path.join("dir");
        remove_tree(&dir).unwrap();
        make_dir(&dir).unwrap();
        write(&dir.join(name), content.as_bytes(), mode).unwrap();
        assert!(seen.insert(digest_tree(&dir).unwrap().unwrap()), "{name} {mode:o} {content}");
    }
    assert_eq!(digest_tree(&place.path.join("absent")).unwrap(), None);
}

#[test]
fn a_store_without_generations_is_empty_and_publishes_the_first() {
    let place = place();
    let store = SlotsStore::new(place.path.join("slots"));
    assert_eq!(store.load().unwrap(), Slots::default());
    assert_eq!(store.publish(&generation(2)).unwrap(), Published::Taken);
    assert_eq!(store.publish(&generation(1)).unwrap(), Published::Ours);
    assert_eq!(store.publish(&generation(1)).unwrap(), Published::Taken);
    assert_eq!(store.load().unwrap().generation, 1);
}

#[test]
fn old_generations_are_pruned_and_can_not_be_published_again() {
    let place = place();
    let store = store_with(&place, KEPT_GENERATIONS + 9);
    let kept = store.generations().unwrap();
    assert_eq!(kept, (10..=KEPT_GENERATIONS + 9).collect::<Vec<_>>());
    assert_eq!(store.publish(&generation(3)).unwrap(), Published::Taken);
    assert_eq!(store.generations().unwrap(), kept);
}

#[test]
fn a_damaged_newest_generation_is_named_and_never_taken_for_absent() {
    let place = place();
    let store = store_with(&place, 3);
    let path = store.path(3);
    let whole = read(&path).unwrap().unwrap();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        write(&path, &whole[..cut], 0o644).unwrap();
        let error = store.load().unwrap_err();
        assert!(matches!(&error, HostError::Damaged { path: at, .. } if *at == path), "{error}");
    }
    let damaged = store.history().unwrap();
    assert!(damaged[2].1.is_err());
    assert!(damaged[1].1.is_ok());
    // Mending publishes a newer generation; the damaged one is then history.
    assert_eq!(store.publish(&generation(4)).unwrap(), Published::Ours);
    assert_eq!(store.load().unwrap().generation, 4);
}

#[test]
fn a_generation_under_a_foreign_number_is_refused() {
    let place = place();
    let store = store_with(&place, 1);
    rename(&store.path(1), &store.path(7)).unwrap();
    assert!(matches!(store.load(), Err(HostError::Surprise { .. })));
    write(&place.path.join("slots/08.json"), b"foreign", 0o644).unwrap();
    assert_eq!(store.generations().unwrap(), [7]);
}

#[test]
fn of_many_publishers_exactly_one_wins_each_generation() {
    const WRITERS: usize = 8;
    const ROUNDS: u64 = 60;
    let place = place();
    let store = SlotsStore::new(place.path.join("slots"));
    let won = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut won = Vec::new();
                    loop {
                        let next = store.load().unwrap().generation + 1;
                        if next > ROUNDS {
                            return won;
                        }
                        if store.publish(&generation(next)).unwrap() == Published::Ours {
                            won.push(next);
                        }
                    }
                })
            })
            .collect();
        let mut all: Vec<u64> =
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        all.sort_unstable();
        all
    });
    let mut once = won.clone();
    once.dedup();
    assert_eq!(once, won, "a generation has one winner");
    assert_eq!(store.load().unwrap().generation, ROUNDS);
    // A winner that sleeps until its own generation is pruned is told to look again.
    assert!(won.len() > usize::try_from(ROUNDS).unwrap() / 2, "{won:?}");
}

#[test]
fn unfinished_files_of_the_dead_are_cleaned_and_those_of_the_living_kept() {
    let place = place();
    let dead = place.path.join(format!("{ASIDE_PREFIX}4194305-0-x"));
    let living = aside_name(&place.path.join("x"));
    for path in [&dead, &living] {
        write(path, b"", 0o644).unwrap();
    }
    clean_asides(&place.path).unwrap();
    assert!(!dead.exists());
    assert!(living.exists());
}

#[test]
fn looking_who_holds_a_lock_never_keeps_anybody_from_taking_it() {
    let place = place();
    let path = place.path.join("lock");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Lock::holder(&path).unwrap();
                }
            });
        }
        let missed = (0..2000).filter(|_| Lock::try_take(&path).unwrap().is_none()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(missed, 0, "nobody held it");
    });
}

#[test]
fn a_directory_that_becomes_a_link_after_it_was_seen_is_not_followed() {
    let place = place();
    let (tree, victim) = (place.path.join("tree"), place.path.join("victim"));
    make_dir(&victim).unwrap();
    write(&victim.join("secret"), b"theirs", 0o600).unwrap();
    make_dir(&tree.join("a")).unwrap();
    let mut seen = Vec::new();
    let walked = tree::walk(&tree, &mut |path, _at, meta| {
        seen.push(path.to_owned());
        if meta.is_dir() && path == tree.join("a") {
            fs::remove_dir(path).unwrap();
            std::os::unix::fs::symlink(&victim, path).unwrap();
        }
        Ok(())
    });
    assert!(matches!(walked, Err(HostError::Io { act: "list", .. })), "{walked:?}");
    assert_eq!(seen, [tree.clone(), tree.join("a")]);
}

#[test]
fn a_parent_that_becomes_a_link_after_it_was_entered_leads_nobody_astray() {
    let place = place();
    let (tree, victim) = (place.path.join("tree"), place.path.join("victim"));
    make_dir(&victim).unwrap();
    make_dir(&tree.join("a")).unwrap();
    write(&victim.join("2"), b"theirs", 0o600).unwrap();
    write(&tree.join("a/1"), b"ours", 0o600).unwrap();
    write(&tree.join("a/2"), b"ours", 0o600).unwrap();
    let mut read_there = Vec::new();
    tree::walk(&tree, &mut |path, at, meta| {
        if path == tree.join("a/1") {
            fs::rename(tree.join("a"), place.path.join("moved")).unwrap();
            std::os::unix::fs::symlink(&victim, tree.join("a")).unwrap();
        }
        if meta.is_file() {
            read_there.push(fs::read_to_string(at).unwrap());
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(read_there, ["ours", "ours"]);
}

#[test]
fn nobody_else_may_enter_a_copy_before_it_is_whole() {
    let place = place();
    let (from, to) = (place.path.join("from"), place.path.join("to"));
    make_dir(&from.join("a")).unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o777)).unwrap();
    for number in 0..100 {
        File::create(from.join(format!("a/{number}"))).unwrap();
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut open = 0;
            while !done.load(Ordering::Relaxed) {
                for entry in place.path.read_dir_utf8().unwrap().flatten() {
                    let aside = entry.file_name().starts_with(ASIDE_PREFIX);
                    // The mode first: it opens for good once the copy is whole, so that what is
                    // counted afterwards can't have been less when it was open.
                    let mode = entry.metadata().map_or(0, |meta| meta.permissions().mode());
                    let below = entry.path().join("a").read_dir_utf8();
                    let partial = below.is_ok_and(|entries| entries.count() < 100);
                    open += usize::from(aside && partial && mode & 0o077 != 0);
                }
            }
            open
        });
        copy_tree(&from, &to).unwrap();
        done.store(true, Ordering::Relaxed);
        assert_eq!(watch.join().unwrap(), 0);
    });
    assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o777);
}

#[test]
fn a_lock_names_its_holder_and_is_free_when_dropped() {
    let place = place();
    let path = place.path.join("lock");
    assert_eq!(Lock::holder(&path).unwrap(), None);
    let lock = Lock::try_take(&path).unwrap().unwrap();
    assert_eq!(Lock::holder(&path).unwrap(), Some(std::process::id()));
    assert!(Lock::try_take(&path).unwrap().is_none());
    drop(lock);
    assert_eq!(Lock::holder(&path).unwrap(), None);
    assert!(Lock::try_take(&path).unwrap().is_some());
}

#[test]
fn lines_survive_a_torn_tail_and_rotate_once_they_are_many() {
    let place = place();
    let path = place.path.join("lines.jsonl");
    append_line(&path, "one").unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"to").unwrap();
    assert_eq!(read_lines(&path).unwrap(), ["one"]);
    append_line(&path, "three").unwrap();
    assert_eq!(read_lines(&path).unwrap(), ["one", "to", "three"]);
    let long = "x".repeat(300_000);
    for _ in 0..12 {
        append_line(&path, &long).unwrap();
    }
    append_line(&path, "last").unwrap();
    assert_eq!(read_lines(&path).unwrap().last().unwrap(), "last");
    let bytes: u64 =
        place.path.read_dir_utf8().unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 3 * MAX_LINES_BYTES, "{bytes}");
}
