use handover_model::wire::{Action, AgentOrder, Place};
use handover_model::{AgentId, IdGen, OrderId, Timestamp};
use zeroize::Zeroizing;

use super::*;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Zeroizing::new([n; 32])).expect("32 bytes are a seed")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn agent(n: u8) -> AgentId {
    AgentId::mint(&mut IdGen::new([n; 32]), at(0))
}

fn order(for_agent: AgentId) -> AgentOrder {
    AgentOrder {
        type_: AgentOrder::TYPE.to_owned(),
        id: OrderId::mint(&mut IdGen::new([9; 32]), at(0)),
        agent: for_agent,
        place: Place { epoch: 1, sequence: 7 },
        action: Action::Update { component: "web".parse().expect("a name"), to: None },
        expect: None,
        issued: at(0),
        expires: at(60),
        reason: None,
        activate: None,
    }
}

fn keys(number: u64, of: &[&SigningKey]) -> OrderKeys {
    OrderKeys::new(number, of.iter().map(|key| key.public()).collect())
}

#[test]
fn an_order_is_believed_only_with_a_known_key_for_this_agent_in_time() {
    let (good, stranger) = (key(1), key(2));
    let held = keys(1, &[&good]);
    let doc = sign(&order(agent(1)), &good).expect("signs");
    let check = |doc, who, when| verify_order(doc, &held, who, when).map(Verified::into_inner);
    assert_eq!(check(&doc, agent(1), at(1)).expect("good"), order(agent(1)));
    let code = |result: Result<AgentOrder, VerifyError>| result.expect_err("refused").code();
    assert_eq!(code(check(&doc, agent(2), at(1))), "other_agent");
    assert_eq!(code(check(&doc, agent(1), at(60))), "order_expired");
    let foreign = sign(&order(agent(1)), &stranger).expect("signs");
    assert_eq!(code(check(&foreign, agent(1), at(1))), "unsigned");
    let mut changed = doc.clone();
    changed.0["signed"]["sequence"] = 8.into();
    assert_eq!(code(check(&changed, agent(1), at(1))), "unsigned");
}

#[test]
fn a_document_of_another_kind_is_no_order_though_the_key_signed_it() {
    let good = key(1);
    let held = keys(1, &[&good]);
    let mut other = order(agent(1));
    other.type_ = Cancel::TYPE.to_owned();
    let doc = sign(&other, &good).expect("signs");
    let refused = verify_order(&doc, &held, agent(1), at(1)).expect_err("refused");
    assert_eq!(refused.code(), "malformed");
    // And an order is no cancel, though both name the agent.
    let doc = sign(&order(agent(1)), &good).expect("signs");
    assert_eq!(verify_cancel(&doc, &held, agent(1)).expect_err("refused").code(), "malformed");
}

#[test]
fn an_unknown_action_is_read_so_that_it_can_be_refused_by_name() {
    let good = key(1);
    let mut doc = serde_json::to_value(order(agent(1))).expect("json");
    doc["action"] = serde_json::json!({"do": "dance", "floor": 3});
    let doc = sign(&doc, &good).expect("signs");
    let read = verify_order(&doc, &keys(1, &[&good]), agent(1), at(1)).expect("believed");
    assert_eq!(read.action, Action::Unknown);
}

#[test]
fn order_keys_are_walked_one_by_one_and_never_back() {
    let (first, second, third) = (key(1), key(2), key(3));
    let one = keys(1, &[&first]);
    let two = keys(2, &[&first, &second]);
    let three = keys(3, &[&second]);
    let held = first_order_keys(&sign(&one, &first).expect("signs")).expect("self-signed");
    let held = next_order_keys(&held, &sign(&two, &first).expect("signs")).expect("next");
    let held = next_order_keys(&held, &sign(&three, &second).expect("signs")).expect("next");
    let code = |doc: &OrderKeys, by: &SigningKey| {
        next_order_keys(&held, &sign(doc, by).expect("signs")).expect_err("refused").code()
    };
    assert_eq!(code(&keys(3, &[&second]), &second), "rollback");
    assert_eq!(code(&keys(5, &[&second]), &second), "root_gap");
    assert_eq!(code(&keys(4, &[&third]), &third), "unsigned", "a stranger appoints itself");
    assert_eq!(code(&keys(4, &[&first]), &first), "unsigned", "a retired key speaks");
    assert_eq!(code(&keys(4, &[]), &second), "malformed", "nobody could sign any more");
}

#[test]
fn a_checkpoint_is_believed_only_with_the_checkpoint_key_and_under_its_own_type() {
    let (ours, theirs) = (key(1), key(2));
    let mut checkpoint = Checkpoint {
        type_: Checkpoint::TYPE.to_owned(),
        at: at(5),
        epoch: 1,
        seq: 7,
        hash: handover_model::Digest::of(b"head"),
    };
    let doc = sign(&checkpoint, &ours).expect("it has a canonical form");
    assert_eq!(verify_checkpoint(&doc, &ours.public()).expect("ours").seq, 7);
    let error = verify_checkpoint(&doc, &theirs.public()).expect_err("theirs");
    assert_eq!(error.code(), "unsigned");
    checkpoint.type_ = "handover-order".to_owned();
    let doc = sign(&checkpoint, &ours).expect("it has a canonical form");
    let error = verify_checkpoint(&doc, &ours.public()).expect_err("another type");
    assert_eq!(error.code(), "malformed");
}
