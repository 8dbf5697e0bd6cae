use std::io::Write as _;

use super::*;

/// An archive under construction, entry by entry, with nothing checked.
struct Pack {
    tar: Vec<u8>,
    manifest: Vec<u8>,
    entries: u64,
    bytes: u64,
}

const FILE: u8 = b'0';
const HARD: u8 = b'1';
const LINK: u8 = b'2';
const DIR: u8 = b'5';

impl Pack {
    fn empty() -> Self {
        let text = r#"{"format":1,"component":"web","version":"1.0.0","sequence":1,
            "upgrades_from":"<1.0.0","service":{"executable":"bin/web"}}"#;
        Self { tar: Vec::new(), manifest: text.into(), entries: 0, bytes: 0 }
    }

    fn good() -> Self {
        let mut pack = Self::empty();
        pack.add(DIR, b"bin/", 0o755, b"", b"");
        pack.add(FILE, b"bin/web", 0o755, b"", b"#!/bin/sh\n");
        pack.add(DIR, b"handover/", 0o755, b"", b"");
        let manifest = pack.manifest.clone();
        pack.add(FILE, b"handover/release.json", 0o644, b"", &manifest);
        pack.add(FILE, b"handover/upgrade", 0o700, b"", b"#!/bin/sh\n");
        pack
    }

    fn with(kind: u8, name: &[u8], mode: u32, link: &[u8]) -> Self {
        let mut pack = Self::good();
        pack.add(kind, name, mode, link, b"");
        pack
    }

    fn add(&mut self, kind: u8, name: &[u8], mode: u32, link: &[u8], content: &[u8]) {
        self.put(kind, name, mode, link, content);
        self.entries += 1;
        self.bytes += u64::try_from(content.len()).unwrap();
    }

    /// Adds an entry that the signed facts do not count.
    fn put(&mut self, kind: u8, name: &[u8], mode: u32, link: &[u8], content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.as_old_mut().linkflag = [kind];
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
    }

    fn facts(&self) -> ReleaseFacts {
        let manifest: Manifest = serde_json::from_slice(&self.manifest).unwrap();
        let digest = Digest::of(&self.manifest);
        manifest.facts("any".parse().unwrap(), digest, self.bytes, self.entries)
    }

    fn archive(&self) -> Vec<u8> {
        let mut tar = self.tar.clone();
        tar.resize(tar.len() + 1024, 0);
        compress(&tar, 3, None)
    }
}

fn compress(bytes: &[u8], level: i32, window_log: Option<u32>) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).unwrap();
    if let Some(log) = window_log {
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(log).unwrap();
    }
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn incoming(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    fn unpack(&self, archive: &[u8], facts: &ReleaseFacts) -> Result<Unpacked, UnpackError> {
        let package = self.incoming().join("x.package");
        File::create(&package).unwrap().write_all(archive).unwrap();
        unpack(&package, self.incoming(), &Digest::of(archive), facts)
    }
}

fn code_of(archive: &[u8], facts: &ReleaseFacts) -> &'static str {
    let room = Room::new();
    let code = room.unpack(archive, facts).expect_err("the package is bad").code();
    let left = std::fs::read_dir(room.incoming()).unwrap().count();
    assert_eq!(left, 1, "{code}: only the archive itself is left");
    code
}

fn code(pack: &Pack) -> &'static str {
    code_of(&pack.archive(), &pack.facts())
}

#[test]
fn a_good_package_unpacks_with_normal_modes() {
    let (room, mut pack) = (Room::new(), Pack::good());
    pack.add(LINK, b"bin/latest", 0o777, b"web", b"");
    pack.add(LINK, b"lib/up", 0o777, b"../bin/web", b"");
    pack.add(FILE, b"share/deep/data", 0o606, b"", b"data");
    let Unpacked { path, manifest, .. } = room.unpack(&pack.archive(), &pack.facts()).unwrap();
    assert_eq!(manifest.version.to_string(), "1.0.0");
    let mode = |name: &str| {
        std::fs::symlink_metadata(path.join(name)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!((mode("bin"), mode("share/deep")), (0o755, 0o755));
    assert_eq!((mode("bin/web"), mode("share/deep/data")), (0o755, 0o644));
    assert_eq!(mode("handover/upgrade"), 0o755);
    assert_eq!(std::fs::read_link(path.join("lib/up")).unwrap().to_str(), Some("../bin/web"));
    assert_eq!(std::fs::read(path.join("share/deep/data")).unwrap(), b"data");
}

#[test]
fn unpacking_again_replaces_what_was_there() {
    let (room, pack) = (Room::new(), Pack::good());
    let Unpacked { path, .. } = room.unpack(&pack.archive(), &pack.facts()).unwrap();
    File::create(path.join("foreign")).unwrap();
    room.unpack(&pack.archive(), &pack.facts()).unwrap();
    assert!(!path.join("foreign").exists());
}

#[test]
fn paths_that_leave_the_package_are_refused() {
    assert_eq!(code(&Pack::with(FILE, b"/etc/passwd", 0o644, b"")), "unpack.absolute-path");
    assert_eq!(code(&Pack::with(FILE, b"../x", 0o644, b"")), "unpack.parent-path");
    assert_eq!(code(&Pack::with(FILE, b"bin/../../x", 0o644, b"")), "unpack.parent-path");
    assert_eq!(code(&Pack::with(DIR, b"..", 0o755, b"")), "unpack.parent-path");
}

#[test]
fn links_that_leave_the_package_are_refused() {
    for target in [&b"/etc/passwd"[..], b"../x", b"bin/../../x", b"bin/../bin/../../etc", b".."] {
        assert_eq!(code(&Pack::with(LINK, b"out", 0o777, target)), "unpack.link-out");
    }
    // Behind a link, `..` is another directory than it reads.
    let mut pack = Pack::good();
    pack.add(LINK, b"second", 0o777, b"first/../x", b"");
    pack.add(LINK, b"first", 0o777, b"bin", b"");
    assert_eq!(code(&pack), "unpack.link-out");
}

#[test]
fn nothing_is_written_through_a_link() {
    let mut pack = Pack::with(LINK, b"dir", 0o777, b"bin");
    pack.add(FILE, b"dir/web2", 0o644, b"", b"x");
    assert_eq!(code(&pack), "unpack.through-link");
    let mut pack = Pack::good();
    pack.add(FILE, b"bin/web/x", 0o644, b"", b"x");
    assert_eq!(code(&pack), "unpack.through-link");
}

#[test]
fn kinds_that_packages_do_not_need_are_refused() {
    assert_eq!(code(&Pack::with(HARD, b"hard", 0o644, b"bin/web")), "unpack.hard-link");
    assert_eq!(code(&Pack::with(HARD, b"hard", 0o644, b"../out")), "unpack.hard-link");
    for kind in [b'3', b'4', b'6', b'7', b'S', b'g', b'z'] {
        assert_eq!(code(&Pack::with(kind, b"odd", 0o644, b"")), "unpack.special-file", "{kind}");
    }
}

#[test]
fn bits_that_give_privileges_are_refused() {
    for mode in [0o4755, 0o2755, 0o1755] {
        assert_eq!(code(&Pack::with(FILE, b"sly", mode, b"")), "unpack.set-id");
    }
    assert_eq!(code(&Pack::with(DIR, b"sly", 0o1777, b"")), "unpack.set-id");
}

#[test]
fn names_that_clash_or_hide_are_refused() {
    assert_eq!(code(&Pack::with(FILE, b"bin/web", 0o644, b"")), "unpack.duplicate");
    assert_eq!(code(&Pack::with(FILE, b"./bin//web", 0o644, b"")), "unpack.duplicate");
    assert_eq!(code(&Pack::with(DIR, b"bin", 0o755, b"")), "unpack.duplicate");
    assert_eq!(code(&Pack::with(FILE, b"bin/WEB", 0o644, b"")), "unpack.case-clash");
    assert_eq!(code(&Pack::with(FILE, b"BIN/other", 0o644, b"")), "unpack.case-clash");
    assert_eq!(code(&Pack::with(FILE, b"bin/\xff", 0o644, b"")), "unpack.name");
    assert_eq!(code(&Pack::with(FILE, b"bin/a\nb", 0o644, b"")), "unpack.name");
    assert_eq!(code(&Pack::with(FILE, b"bin/\x1b[2J", 0o644, b"")), "unpack.name");
}

#[test]
fn a_directory_may_be_listed_after_its_content_but_only_once() {
    let mut pack = Pack::good();
    pack.add(FILE, b"late/x", 0o644, b"", b"x");
    pack.add(DIR, b"late/", 0o755, b"", b"");
    Room::new().unpack(&pack.archive(), &pack.facts()).unwrap();
    pack.add(DIR, b"late/", 0o755, b"", b"");
    assert_eq!(code(&pack), "unpack.duplicate");
}

#[test]
fn long_names_are_read_and_bounded() {
    let long = [&b"share/"[..], &[b'x'; 200]].concat();
    let mut pack = Pack::good();
    pack.put(b'L', b"././@LongLink", 0o644, b"", &[&long[..], b"\0"].concat());
    pack.add(FILE, b"short", 0o644, b"", b"x");
    let room = Room::new();
    let Unpacked { path, .. } = room.unpack(&pack.archive(), &pack.facts()).unwrap();
    assert!(path.join(std::str::from_utf8(&long).unwrap()).exists());

    let mut pack = Pack::good();
    pack.put(b'x', b"pax", 0o644, b"", b"20 path=../climber\n\n");
    pack.add(FILE, b"short", 0o644, b"", b"x");
    assert_eq!(code(&pack), "unpack.archive");
    let mut pack = Pack::good();
    pack.put(b'x', b"pax", 0o644, b"", b"19 path=../climber\n");
    pack.add(FILE, b"short", 0o644, b"", b"x");
    assert_eq!(code(&pack), "unpack.parent-path");
    let mut pack = Pack::good();
    pack.put(b'L', b"././@LongLink", 0o644, b"", &[b'x'; 9000]);
    pack.add(FILE, b"short", 0o644, b"", b"x");
    assert_eq!(code(&pack), "unpack.archive");
}

#[test]
fn more_than_declared_is_refused() {
    let mut pack = Pack::good();
    pack.put(FILE, b"extra", 0o644, b"", b"");
    assert_eq!(code(&pack), "unpack.too-many-entries");
    let mut pack = Pack::good();
    pack.add(FILE, b"extra", 0o644, b"", b"xyz");
    pack.bytes -= 1;
    assert_eq!(code(&pack), "unpack.too-many-bytes");
    // A bomb: megabytes of zeros in a few bytes, announced as one small file.
    let mut pack = Pack::good();
    pack.put(FILE, b"bomb", 0o644, b"", &vec![0; 64 << 20]);
    pack.entries += 1;
    assert_eq!(code(&pack), "unpack.too-many-bytes");
}

#[test]
fn endless_zeros_behind_the_archive_are_not_read_to_their_end() {
    let mut pack = Pack::good();
    let facts = pack.facts();
    pack.tar.resize(256 << 20, 0);
    assert_eq!(code_of(&pack.archive(), &facts), "unpack.trailing");
}

#[test]
fn what_follows_the_archive_is_refused() {
    let pack = Pack::good();
    let facts = pack.facts();
    let mut inside = pack.tar.clone();
    inside.resize(inside.len() + 1024, 0);
    inside.extend_from_slice(b"hidden");
    assert_eq!(code_of(&compress(&inside, 3, None), &facts), "unpack.trailing");
    let outside = [pack.archive(), b"hidden".to_vec()].concat();
    assert_eq!(code_of(&outside, &facts), "unpack.trailing");
    let second = [pack.archive(), pack.archive()].concat();
    assert_eq!(code_of(&second, &facts), "unpack.trailing");
}

#[test]
fn truncation_anywhere_is_refused() {
    let pack = Pack::good();
    let (archive, facts) = (pack.archive(), pack.facts());
    for cut in (0..archive.len()).step_by(7) {
        code_of(&archive[..cut], &facts);
    }
    assert_eq!(code_of(b"not zstd at all", &facts), "unpack.archive");
    assert_eq!(code_of(&compress(b"not tar at all", 3, None), &facts), "unpack.archive");
}

#[test]
fn a_window_that_would_eat_memory_is_refused() {
    let mut pack = Pack::good();
    pack.add(FILE, b"big", 0o644, b"", &vec![7; 40 << 20]);
    let facts = pack.facts();
    pack.tar.resize(pack.tar.len() + 1024, 0);
    assert_eq!(code_of(&compress(&pack.tar, 3, Some(27)), &facts), "unpack.archive");
    Room::new().unpack(&compress(&pack.tar, 19, None), &facts).unwrap();
}

#[test]
fn manifest_entrypoint_and_signed_facts_must_agree() {
    let pack = Pack::good();
    let mut facts = pack.facts();
    facts.manifest = Digest::of(b"other");
    assert_eq!(code_of(&pack.archive(), &facts), "unpack.manifest-digest");
    let mut facts = pack.facts();
    facts.sequence = 7;
    assert_eq!(code_of(&pack.archive(), &facts), "unpack.disagree");
    let mut facts = pack.facts();
    facts.revoked = Some("bad".into());
    Room::new().unpack(&pack.archive(), &facts).unwrap();

    let mut pack = Pack::empty();
    let manifest = pack.manifest.clone();
    pack.add(FILE, b"handover/release.json", 0o644, b"", &manifest);
    assert_eq!(code(&pack), "unpack.missing");
    pack.add(FILE, b"handover/upgrade", 0o644, b"", b"not executable");
    assert_eq!(code(&pack), "unpack.missing");
    let mut pack = Pack::empty();
    pack.add(LINK, b"handover/release.json", 0o777, b"../x", b"");
    assert_eq!(code(&pack), "unpack.missing");
}
