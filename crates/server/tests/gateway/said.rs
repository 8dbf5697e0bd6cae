//! What agents say in these tests.

use handover_model::wire::{
    Action, AgentOrder, ComponentState, HostState, OrderReport, OrderStage, Proof, SignedDoc,
};
use handover_model::{Digest, Labels, Mode, ReleaseId};
use handover_trust::control::verify_order;

use crate::rig::{Agent, Site};

pub(crate) fn update() -> Action {
    Action::Update { component: "web".parse().unwrap(), to: Some("1.1.0".parse().unwrap()) }
}

pub(crate) fn release(version: &str) -> ReleaseId {
    ReleaseId { version: version.parse().unwrap(), digest: Digest::of(version.as_bytes()) }
}

/// What an order says, as its host proves it.
pub(crate) fn opened(site: &Site, agent: &Agent, document: &SignedDoc) -> AgentOrder {
    let keys = agent.order_keys.as_ref().unwrap();
    verify_order(document, keys, agent.id, site.now()).unwrap().into_inner()
}

pub(crate) fn on(order: &AgentOrder, stage: OrderStage) -> OrderReport {
    OrderReport {
        order: order.id,
        place: order.place,
        stage,
        code: None,
        reason: None,
        release: (stage == OrderStage::Done).then(|| release("1.1.0")),
        progress: None,
    }
}

/// A host that runs `version` of `web`, proved.
pub(crate) fn host(name: &str, version: &str) -> HostState {
    let proof = Proof {
        release: release(version),
        executable: Digest::of(b"program"),
        proved: true,
        pid: 7,
        ready: true,
        boot: "boot-1".to_owned(),
    };
    HostState {
        name: name.parse().unwrap(),
        platform: "linux-x86_64".parse().unwrap(),
        agent_version: "1.0.0".parse().unwrap(),
        boot: "boot-1".to_owned(),
        facts: Labels::parse(["os=linux"]).unwrap(),
        components: vec![ComponentState {
            component: "web".parse().unwrap(),
            current: Some(release(version)),
            sequence: Some(1),
            proof: Some(proof),
            trial: None,
            previous: Vec::new(),
            quarantine: Vec::new(),
            mode: Mode::Manual,
            channel: "stable".to_owned(),
            pin: None,
            control_pin: None,
            floor: None,
            outlook: None,
        }],
    }
}
