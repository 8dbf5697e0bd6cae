//! Publishing: verified as a host would verify it, swapped in at once, or not at all.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use camino::Utf8PathBuf;
use handover_model::Digest;
use rustix::fs::{CWD, FileType, Mode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::repository::Repository;
use crate::site::Site;

const PUBLISH: &str = "/api/v1/repository/publish";

/// A publication that is held up where it reads the version floors.
struct Held {
    floors: Utf8PathBuf,
    bytes: Vec<u8>,
    pipe: Option<File>,
}

impl Held {
    /// Holds the next one up.
    fn publication(site: &Site) -> Self {
        let floors = site.data.join("repository-floors.json");
        let bytes = std::fs::read(&floors).unwrap();
        std::fs::rename(&floors, floors.with_extension("kept")).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, floors.as_std_path(), FileType::Fifo, mode, 0).unwrap();
        Self { floors, bytes, pipe: None }
    }

    /// Waits until one is held up.
    async fn begun(mut self) -> Self {
        let floors = self.floors.clone();
        // Opening a pipe waits for its reader.
        let open = tokio::task::spawn_blocking(move || File::create(floors).unwrap());
        let limit = Duration::from_secs(10);
        self.pipe = Some(tokio::time::timeout(limit, open).await.unwrap().unwrap());
        std::fs::rename(self.floors.with_extension("kept"), &self.floors).unwrap();
        self
    }

    /// Lets it go on.
    fn go_on(self) {
        self.pipe.unwrap().write_all(&self.bytes).unwrap();
    }
}

fn staging(path: &str) -> String {
    format!("/api/v1/repository/staging/{path}")
}

#[tokio::test]
async fn the_first_publication_names_the_root_that_is_trusted_from_then_on() {
    let site = Site::new().await;
    let empty = site.admin.post(PUBLISH, &json!({})).await;
    assert_eq!((empty.status, empty.code().as_str()), (409, "repository.nothing-staged"));
    let mut ours = Repository::new(1, site.now());
    ours.offer("web", "1.0.0", 1, |_| {});
    ours.stage(&site).await;
    let unsaid = site.admin.post(PUBLISH, &json!({})).await;
    assert_eq!(unsaid.code(), "repository.root-needed");
    assert!(unsaid.text().contains(&ours.root().to_string()), "it says what it found");
    let wrong = json!({ "trusted_root": Digest::of(b"another") });
    assert_eq!(site.admin.post(PUBLISH, &wrong).await.code(), "repository.other-root");
    let said = json!({ "trusted_root": ours.root() });
    let key = [("idempotency-key", "publish-1")];
    let published = site.admin.json_with("POST", PUBLISH, &said, &key).await.good();
    let again = site.admin.json_with("POST", PUBLISH, &said, &key).await.good();
    assert_eq!(again, published, "repeating it is no error, though nothing is staged any more");
    assert_eq!(
        (published["root"].clone(), published["components"].clone()),
        (json!(1), json!(["web"]))
    );

    ours.offer("web", "1.1.0", 2, |_| {});
    ours.stage(&site).await;
    site.admin.post(PUBLISH, &json!({})).await.good();
    let releases = site.admin.get("/api/v1/releases").await.good();
    assert_eq!(releases["items"][0]["newest"]["stable"], "1.1.0");

    let mut theirs = Repository::new(2, site.now());
    theirs.offer("web", "6.6.6", 1, |_| {});
    theirs.stage(&site).await;
    let foreign = site.admin.post(PUBLISH, &json!({})).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (422, "repository.refused"));
    let releases = site.admin.get("/api/v1/releases").await.good();
    assert_eq!(releases["items"][0]["newest"]["stable"], "1.1.0", "nothing changed");
    site.stop().await;
}

#[tokio::test]
async fn an_old_repository_a_changed_package_and_a_missing_one_are_refused() {
    let site = Site::new().await;
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    let old = repository.files();
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.publish(&site).await;

    for (path, bytes) in &old {
        site.admin.send("PUT", &staging(path), &[], bytes).await.good();
    }
    let back = site.admin.post(PUBLISH, &json!({})).await;
    assert_eq!(back.code(), "repository.refused");
    assert!(back.text().contains("rollback"), "{}", back.text());

    repository.offer("web", "1.2.0", 3, |_| {});
    let files = repository.files();
    let (package, bytes) = files.iter().find(|(path, _)| path.contains("1.2.0")).unwrap();
    for (path, bytes) in files.iter().filter(|(path, _)| *path != package) {
        site.admin.send("PUT", &staging(path), &[], bytes).await.good();
    }
    assert_eq!(site.admin.post(PUBLISH, &json!({})).await.code(), "repository.target-missing");
    let changed: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
    site.admin.send("PUT", &staging(package), &[], &changed).await.good();
    assert_eq!(site.admin.post(PUBLISH, &json!({})).await.code(), "repository.refused");
    site.admin.send("PUT", &staging(package), &[], bytes).await.good();
    site.admin.post(PUBLISH, &json!({})).await.good();
    site.stop().await;
}

#[tokio::test]
async fn metadata_that_verification_did_not_read_never_goes_live() {
    let site = Site::new().await;
    let mut ours = Repository::new(1, site.now());
    ours.offer("web", "1.0.0", 1, |_| {});
    ours.publish(&site).await;
    let theirs = Repository::new(2, site.now()).published.roots[&1].clone();
    let names = ["1.root.json", "3.root.json", "99.component-web.json", "targets.json"];
    for (strange, sequence) in names.into_iter().zip(2..) {
        ours.offer("web", &format!("1.{sequence}.0"), sequence, |_| {});
        for (path, bytes) in ours.files() {
            site.admin.send("PUT", &staging(&path), &[], &bytes).await.good();
        }
        let path = staging(&format!("metadata/{strange}"));
        site.admin.send("PUT", &path, &[], &theirs).await.good();
        let refused = site.admin.post(PUBLISH, &json!({})).await;
        assert_eq!(refused.code(), "repository.refused", "{strange}");
        assert!(refused.text().contains(strange), "it is named: {}", refused.text());
        site.admin.post(PUBLISH, &json!({})).await.good();
        let served = site.admin.get(&format!("/repository/metadata/{strange}")).await;
        assert_ne!(served.body, theirs, "{strange} was never checked");
    }
    let root = site.admin.get("/repository/metadata/1.root.json").await;
    assert_eq!(Digest::of(&root.body), ours.root());
    site.stop().await;
}

#[tokio::test]
async fn what_is_staged_during_a_publication_waits_for_the_next_one() {
    let site = Site::new().await;
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.publish(&site).await;
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.stage(&site).await;
    let held = Held::publication(&site);
    let admin = site.admin.clone();
    let publishing = tokio::spawn(async move { admin.post(PUBLISH, &json!({})).await });
    let held = held.begun().await;
    let admin = site.admin.clone();
    let late = staging("targets/web/late");
    let staged = tokio::spawn(async move { admin.send("PUT", &late, &[], b"late").await });
    // It has arrived whole when it lies aside, or was let in.
    let arrived = || {
        let aside = |name: &str| name.starts_with('.') && !name.starts_with("..");
        let mut entries = site.data.join("staging").read_dir_utf8().unwrap().flatten();
        entries.any(|entry| {
            aside(entry.file_name()) && entry.metadata().is_ok_and(|facts| facts.len() == 4)
        })
    };
    let waited = async {
        while !arrived() && !staged.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap();
    held.go_on();
    publishing.await.unwrap().good();
    staged.await.unwrap().good();
    let kept = std::fs::read(site.data.join("staging/targets/web/late")).unwrap();
    assert_eq!(kept, b"late", "what was answered 200 is there");
    site.stop().await;
}

#[tokio::test]
async fn a_publication_whose_caller_hangs_up_is_finished_audited_and_answered_later() {
    let site = Site::new().await;
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.publish(&site).await;
    repository.offer("web", "1.1.0", 2, |_| {});
    repository.stage(&site).await;
    let held = Held::publication(&site);
    let key = ("idempotency-key", "publish-2");
    let mut gone = site.admin.connect().await;
    let headers = [("content-type", "application/json"), key];
    let request = site.admin.head("POST", PUBLISH, &headers, 2);
    gone.write_all(format!("{request}{{}}").as_bytes()).await.unwrap();
    gone.flush().await.unwrap();
    let held = held.begun().await;
    gone.shutdown().await.unwrap();
    // Once the server has closed too, it waits for this caller no more.
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), gone.read_to_end(&mut rest));
    let _closed = closed.await.unwrap();
    drop(gone);
    held.go_on();
    let swapped = async {
        while site.data.join("staging/metadata").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), swapped).await.unwrap();
    let again = site.admin.json_with("POST", PUBLISH, &json!({}), &[key]).await.good();
    assert_eq!(again["components"], json!(["web"]));
    site.number().await;
    let audit = site.admin.get("/api/v1/audit").await.text();
    assert_eq!(audit.matches("repository.publish").count(), 2, "{audit}");
    site.stop().await;
}

#[tokio::test]
async fn a_private_key_and_a_path_that_leads_elsewhere_are_refused() {
    let site = Site::new().await;
    let key = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG...\n";
    let refused = site.admin.send("PUT", &staging("metadata/root.json"), &[], key).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "repository.private-key"));
    for bad in ["metadata/../../keys/order.key", "targets/..%2f..%2fx", "other/file", "targets/.x"]
    {
        let refused = site.admin.send("PUT", &staging(bad), &[], b"x").await;
        assert!(matches!(refused.status, 404 | 422), "{bad}: {}", refused.text());
    }
    let left: Vec<_> = match site.data.join("staging").read_dir_utf8() {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name().to_owned()).collect(),
        Err(_none) => Vec::new(),
    };
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
    site.stop().await;
}

#[tokio::test]
async fn signed_files_are_served_to_anybody_in_parts_too() {
    let site = Site::new().await;
    let mut repository = Repository::new(1, site.now());
    repository.offer("web", "1.0.0", 1, |_| {});
    repository.publish(&site).await;
    let nobody = site.admin.with_token(None);
    let timestamp = nobody.get("/repository/metadata/timestamp.json").await;
    assert_eq!(timestamp.status, 200);
    assert_eq!(timestamp.header("cache-control"), Some("no-cache"));
    let (package, bytes) =
        repository.files().into_iter().find(|(path, _)| path.starts_with("targets/")).unwrap();
    let path = format!("/repository/{package}");
    let whole = nobody.get(&path).await;
    assert_eq!(whole.body, bytes);
    let tag = whole.header("etag").unwrap().to_owned();
    let part = nobody.send("GET", &path, &[("range", "bytes=4-")], b"").await;
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[4..]));
    let same = nobody.send("GET", &path, &[("if-none-match", &tag)], b"").await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let beyond = nobody.send("GET", &path, &[("range", "bytes=999-")], b"").await;
    assert_eq!((beyond.status, beyond.code().as_str()), (416, "range"));
    for bad in ["../keys/ca.pem", "%2e%2e/keys/ca.pem", "..%2fkeys%2fca.pem", "nothing"] {
        let refused = nobody.get(&format!("/repository/targets/{bad}")).await;
        assert_eq!(refused.status, 404, "{bad}");
    }
    site.stop().await;
}

#[tokio::test]
async fn downloads_beyond_the_limit_are_told_to_come_again_and_metadata_is_served_all_the_same() {
    let site = Site::new().await;
    Repository::new(1, site.now()).publish(&site).await;
    let targets = site.data.join("repository/targets");
    std::fs::create_dir_all(&targets).unwrap();
    let bytes: Vec<u8> = (0..300_007_u32).map(|number| number.to_be_bytes()[3]).collect();
    File::create(targets.join("small")).unwrap().write_all(&bytes).unwrap();
    File::create(targets.join("large")).unwrap().set_len(1 << 28).unwrap();
    let small = "/repository/targets/small";
    assert_eq!(site.admin.get(small).await.body, bytes);
    let part = site.admin.send("GET", small, &[("range", "bytes=7-200000")], b"").await;
    assert_eq!(part.body, bytes[7..=200_000], "more than one piece");

    let mut slow = Vec::new();
    while slow.len() < 4 {
        let mut stream = site.admin.connect().await;
        let asked = site.admin.head("GET", "/repository/targets/large", &[], 0);
        stream.write_all(asked.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        // The place of a download that is done is free a moment later.
        if answer == *b"HTTP/1.1 200" {
            slow.push(stream);
        }
    }
    let refused = site.admin.get(small).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert_eq!(refused.code(), "unavailable");
    assert_eq!(site.admin.get("/repository/metadata/timestamp.json").await.status, 200);
    drop(slow);
    let served = async { while site.admin.get(small).await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("places are given back");
    site.stop().await;
}
