//! Attacks on repository, packages and permits, as files that any implementation can run
//! (`attacks/README.md`): this crate must refuse each by its own code.
//!
//! `HANDOVER_WRITE_ATTACKS=1 cargo test -p handover-trust --test attacks` writes them anew.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is their failure")]
#![expect(clippy::too_many_lines, reason = "attacks are long lists, read one by one")]

#[path = "attacks/archives.rs"]
mod archives;
#[path = "attacks/case.rs"]
mod case;
#[path = "attacks/following.rs"]
mod following;
#[path = "attacks/list.rs"]
mod list;
#[path = "attacks/world.rs"]
mod world;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use case::{Case, Description, Shelf, read_tree, run};

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../attacks")
}

fn generated() -> Shelf {
    let mut shelf: Shelf =
        list::all().iter().map(|attack| (attack.name.to_owned(), attack.directory())).collect();
    shelf.extend(archives::all());
    shelf
}

fn committed() -> Shelf {
    let mut shelf = Shelf::new();
    for entry in std::fs::read_dir(home()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            shelf.insert(name, read_tree(&path));
        }
    }
    shelf
}

fn write(shelf: &Shelf) {
    for (name, files) in shelf {
        let directory = home().join(name);
        if directory.is_dir() {
            std::fs::remove_dir_all(&directory).unwrap();
        }
        for (path, bytes) in files {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        }
    }
}

#[test]
fn every_attack_is_refused_by_its_own_code() {
    if std::env::var_os("HANDOVER_WRITE_ATTACKS").is_some() {
        write(&generated());
    }
    let (mut ran, mut wrong) = (0, Vec::new());
    for (name, files) in committed() {
        let description: Description = serde_json::from_slice(&files["attack.json"]).unwrap();
        assert_eq!(description.name, name);
        if matches!(description.host, Case::Unpack { .. }) {
            continue;
        }
        ran += 1;
        let found = run(&files, &description);
        if found != description.expect {
            wrong.push(format!("{name}: {found} instead of {}", description.expect));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 60, "only {ran} attacks were found in {}", home().display());
}

#[test]
fn the_committed_attacks_are_those_that_are_described() {
    let (committed, generated) = (committed(), generated());
    let names = |shelf: &Shelf| shelf.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&generated));
    for (name, files) in &generated {
        let archive = name.starts_with("archive-");
        for (path, bytes) in files {
            // Another zstd may compress otherwise; what it compresses to is not the point.
            let same =
                archive && path == "package.tar.zst" || committed[name].get(path) == Some(bytes);
            assert!(same, "{name}/{path} is not what the generator makes");
        }
    }
}
