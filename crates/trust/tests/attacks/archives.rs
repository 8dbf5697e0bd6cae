//! Packages that must not be unpacked. They were signed, so the archive alone is what is wrong;
//! the agent's tests unpack them.

use handover_model::Digest;
use serde_json::json;

use crate::case::{Case, Description, pretty};
use crate::world::Files;

/// One entry of an archive, as bytes of a header see it.
struct Raw<'a> {
    path: &'a str,
    kind: u8,
    link: &'a str,
    mode: u32,
    data: &'a [u8],
}

fn file<'a>(path: &'a str, data: &'a [u8]) -> Raw<'a> {
    Raw { path, kind: b'0', link: "", mode: 0o644, data }
}

fn link<'a>(path: &'a str, kind: u8, to: &'a str) -> Raw<'a> {
    Raw { path, kind, link: to, mode: 0o777, data: b"" }
}

fn manifest() -> Vec<u8> {
    pretty(&json!({
        "format": 1, "component": "web", "version": "1.0.0", "sequence": 1,
        "upgrades_from": "*", "service": { "executable": "bin/web" },
    }))
}

/// A USTAR archive (POSIX.1-2008, pax) written by hand: libraries refuse what is wanted here.
fn tar(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        let mut head = [0_u8; 512];
        head[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        head[100..107].copy_from_slice(format!("{:07o}", entry.mode).as_bytes());
        head[108..115].copy_from_slice(b"0000000");
        head[116..123].copy_from_slice(b"0000000");
        head[124..135].copy_from_slice(format!("{:011o}", entry.data.len()).as_bytes());
        head[136..147].copy_from_slice(b"00000000000");
        head[156] = entry.kind;
        head[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        head[257..265].copy_from_slice(b"ustar\x0000");
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&head);
        archive.extend_from_slice(entry.data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 19).unwrap()
}

/// All of them: name and directory.
pub(crate) fn all() -> Vec<(String, Files)> {
    let manifest = manifest();
    let base = || {
        let mut entries = vec![file("handover/release.json", &manifest)];
        let program = |path| Raw { mode: 0o755, ..file(path, b"#!/bin/sh\n") };
        entries.extend([program("handover/upgrade"), program("bin/web")]);
        entries
    };
    let with = |more: Vec<Raw<'_>>| {
        let mut entries = base();
        entries.extend(more);
        zstd(&tar(&entries))
    };
    let special = |kind| Raw { kind, ..file("dev", b"") };
    let bomb = vec![0; 64 << 20];
    let mut cut = with(vec![]);
    cut.truncate(cut.len() / 2);
    let mut trailing = with(vec![]);
    trailing.extend_from_slice(b"and more");
    let wide: Vec<String> = (0..200).map(|at| format!("many/{at}")).collect();
    let packages: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        ("honest", "accepted", "A package as it should be.", with(vec![])),
        (
            "absolute-path",
            "unpack.absolute-path",
            "An entry with an absolute path.",
            with(vec![file("/etc/passwd", b"x")]),
        ),
        (
            "parent-path",
            "unpack.parent-path",
            "An entry that climbs out with `..`.",
            with(vec![file("bin/../../x", b"x")]),
        ),
        (
            "symlink-out",
            "unpack.link-out",
            "A symbolic link that leads out.",
            with(vec![link("etc", b'2', "../../etc")]),
        ),
        (
            "absolute-symlink",
            "unpack.link-out",
            "A symbolic link to an absolute path.",
            with(vec![link("etc", b'2', "/etc")]),
        ),
        (
            "through-symlink",
            "unpack.through-link",
            "A link, then a file below it.",
            with(vec![link("lib", b'2', "bin"), file("lib/x", b"x")]),
        ),
        (
            "hard-link-out",
            "unpack.hard-link",
            "A hard link to a file of the host.",
            with(vec![link("shadow", b'1', "/etc/shadow")]),
        ),
        (
            "character-device",
            "unpack.special-file",
            "A character device.",
            with(vec![special(b'3')]),
        ),
        ("block-device", "unpack.special-file", "A block device.", with(vec![special(b'4')])),
        ("fifo", "unpack.special-file", "A named pipe.", with(vec![special(b'6')])),
        (
            "set-uid",
            "unpack.set-id",
            "A program with the set-uid bit.",
            with(vec![Raw { mode: 0o4755, ..file("bin/su", b"x") }]),
        ),
        (
            "set-gid",
            "unpack.set-id",
            "A program with the set-gid bit.",
            with(vec![Raw { mode: 0o2755, ..file("bin/su", b"x") }]),
        ),
        (
            "duplicate",
            "unpack.duplicate",
            "The same path twice, the second time with other content.",
            with(vec![file("bin/web", b"other")]),
        ),
        (
            "case-clash",
            "unpack.case-clash",
            "Two paths that differ in case alone.",
            with(vec![file("bin/WEB", b"other")]),
        ),
        (
            "too-many-bytes",
            "unpack.too-many-bytes",
            "More bytes than the signed facts say.",
            with(vec![file("big", &[7; 5000])]),
        ),
        (
            "too-many-entries",
            "unpack.too-many-entries",
            "More entries than the signed facts say.",
            with(wide.iter().map(|path| file(path, b"")).collect()),
        ),
        (
            "bomb",
            "unpack.too-many-bytes",
            "A few kilobytes that unpack to 64 MiB of zeros.",
            with(vec![file("zeros", &bomb)]),
        ),
        ("truncated", "unpack.archive", "An archive that ends early.", cut),
        ("trailing", "unpack.trailing", "Bytes behind the archive's end.", trailing),
        (
            "other-manifest",
            "unpack.manifest-digest",
            "A manifest with another digest than signed.",
            zstd(&tar(&{
                let mut entries = base();
                entries[0].data = b"{}";
                entries
            })),
        ),
    ];
    let facts = json!({
        "format": 1, "component": "web", "version": "1.0.0", "sequence": 1,
        "platform": "linux-x86_64", "channel": "stable", "upgrades_from": "*", "launcher": 1,
        "manifest": Digest::of(&manifest), "unpacked_bytes": 2000, "entries": 8,
    });
    packages
        .into_iter()
        .map(|(name, expect, about, package)| {
            let name = format!("archive-{name}");
            let description = Description {
                format: 1,
                name: name.clone(),
                about: about.to_owned(),
                attacker: "the component's own release keyholders, or their build machine"
                    .to_owned(),
                now: None,
                host: Case::Unpack { facts: facts.clone() },
                expect: expect.to_owned(),
            };
            let files = [
                ("attack.json".to_owned(), pretty(&description)),
                ("package.tar.zst".to_owned(), package),
            ];
            (name, files.into())
        })
        .collect()
}
