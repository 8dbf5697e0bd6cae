//! Publishing: verified as a host would verify it, swapped in at once, or not at all.

use handover_model::Digest;
use serde_json::json;

use crate::repository::Repository;
use crate::site::Site;

const PUBLISH: &str = "/api/v1/repository/publish";

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
