//! Tokens: single use, expiry, revocation.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use handover_model::api::{ApiTokenInfo, Permission, TokenInfo, TokenState};
use handover_model::{Digest, Millis};
use handover_store::{Store, StoreError, api_tokens, tokens};

use crate::rig::{
    Rig, agent_id, at, at_once, labels, on_both_databases, parsed, read, token_id, write,
};

on_both_databases! {
    a_token_is_read_back_without_its_secret,
    a_token_is_used_once_whoever_comes,
    a_token_that_is_over_or_revoked_enrols_nobody,
    api_tokens_are_found_by_their_secret_until_revoked,
    lists_of_tokens_show_the_newest_first,
}

fn info(number: u64) -> TokenInfo {
    TokenInfo {
        id: token_id(number),
        state: TokenState::Open,
        labels: labels(&[("site", "a")]),
        name: Some(parsed("web-1")),
        note: Some("for the rack".to_owned()),
        ephemeral_after: Some(Millis(1000)),
        created_by: "token_x (ann)".to_owned(),
        created_at: at(0),
        expires: at(100),
        agent: None,
        used_at: None,
        revoked_at: None,
        generation: 1,
    }
}

fn secret(number: u64) -> Digest {
    Digest::of(&number.to_be_bytes())
}

fn make(store: &Store, number: u64) {
    write(store, move |tx| tokens::insert(tx, &info(number), &secret(number))).unwrap();
}

fn state(store: &Store, number: u64, second: i64) -> TokenState {
    read(store, move |tx| tokens::get(tx, token_id(number), at(second)))
        .unwrap()
        .unwrap()
        .info
        .state
}

fn a_token_is_read_back_without_its_secret(rig: &Rig) {
    let store = rig.open();
    make(&store, 1);
    let found = read(&store, |tx| tokens::by_secret(tx, &secret(1), at(1))).unwrap().unwrap();
    assert_eq!((&found.info, found.used_by), (&info(1), None));
    assert_eq!(read(&store, |tx| tokens::by_secret(tx, &secret(2), at(1))).unwrap(), None);
    assert_eq!(state(&store, 1, 99), TokenState::Open);
    assert_eq!(state(&store, 1, 100), TokenState::Expired);
}

fn a_token_is_used_once_whoever_comes(rig: &Rig) {
    let store = rig.open();
    make(&store, 1);
    let uses = AtomicU32::new(0);
    at_once(6, |thread| {
        let key = Digest::of(&thread.to_be_bytes());
        let is_mine = write(&store, move |tx| {
            tokens::consume(tx, token_id(1), &key, agent_id(thread), at(5))
        });
        if is_mine.unwrap() {
            uses.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert_eq!(uses.load(Ordering::SeqCst), 1);
    let found = read(&store, |tx| tokens::get(tx, token_id(1), at(6))).unwrap().unwrap();
    assert_eq!((found.info.state, found.info.used_at), (TokenState::Used, Some(at(5))));
    assert!(found.used_by.is_some() && found.info.agent.is_some());
    assert_eq!(found.info.generation, 2);
}

fn a_token_that_is_over_or_revoked_enrols_nobody(rig: &Rig) {
    let store = rig.open();
    make(&store, 1);
    make(&store, 2);
    let stale = write(&store, |tx| tokens::revoke(tx, token_id(1), Some(7), at(1)));
    assert!(matches!(stale, Err(StoreError::Stale { .. })), "{stale:?}");
    write(&store, |tx| tokens::revoke(tx, token_id(1), Some(1), at(1))).unwrap();
    assert_eq!(state(&store, 1, 2), TokenState::Revoked);
    let consume = |number: u64, second: i64| {
        write(&store, move |tx| {
            tokens::consume(tx, token_id(number), &secret(9), agent_id(1), at(second))
        })
        .unwrap()
    };
    assert!(!consume(1, 2));
    assert!(!consume(2, 100));
    assert!(!consume(3, 2));
    assert!(consume(2, 99));
    let absent = write(&store, |tx| tokens::revoke(tx, token_id(3), None, at(1)));
    assert!(matches!(absent, Err(StoreError::Absent { .. })), "{absent:?}");
}

fn api_tokens_are_found_by_their_secret_until_revoked(rig: &Rig) {
    let store = rig.open();
    let token = ApiTokenInfo {
        id: token_id(1),
        name: "ann".to_owned(),
        state: TokenState::Open,
        permissions: BTreeSet::from([Permission::AgentsRead, Permission::OrdersWrite]),
        created_by: "server".to_owned(),
        created_at: at(0),
        expires: Some(at(100)),
        revoked_at: None,
        generation: 1,
    };
    let stored = token.clone();
    write(&store, move |tx| api_tokens::insert(tx, &stored, &secret(1))).unwrap();
    let find = |second: i64| {
        read(&store, move |tx| api_tokens::by_secret(tx, &secret(1), at(second))).unwrap().unwrap()
    };
    assert_eq!(find(1), token);
    assert_eq!(find(100).state, TokenState::Expired);
    write(&store, |tx| api_tokens::revoke(tx, token_id(1), None, at(2))).unwrap();
    assert_eq!((find(3).state, find(3).revoked_at), (TokenState::Revoked, Some(at(2))));
}

fn lists_of_tokens_show_the_newest_first(rig: &Rig) {
    let store = rig.open();
    (1..=5).for_each(|number| make(&store, number));
    let page = |before: Option<String>| {
        read(&store, move |tx| tokens::list(tx, before.as_deref(), 2, at(1))).unwrap()
    };
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let found = page(before);
        ids.extend(found.items.iter().map(|token| token.info.id));
        if found.next.is_none() {
            break;
        }
        before = found.next;
    }
    assert_eq!(ids, [5, 4, 3, 2, 1].map(token_id));
}
