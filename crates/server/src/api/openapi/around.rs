//! Operations that stand around rollouts: external checks, saved groups, the fleet-wide stop,
//! webhooks.

use handover_model::api::{
    CheckAnswer, CheckInfo, CheckSecret, GroupInfo, GroupRequest, StopInfo, StopRequest,
    WebhookCreated, WebhookInfo, WebhookRequest,
};

use super::operations::{Answered, Kind, Operation, SLICE, Taken, change, get, q};
use super::write::of;

/// All of them.
pub(super) static AROUND: &[Operation] = &[
    get(
        "/api/v1/rollouts/{rollout}/checks",
        "listChecks",
        "Its external checks, and what they answered last.",
        Answered::List(of::<CheckInfo>),
    )
    .with_problems(&[404]),
    get(
        "/api/v1/rollouts/{rollout}/checks/{check}/secret",
        "checkSecret",
        "What a check that answers by itself signs its answers with.",
        Answered::Json(of::<CheckSecret>),
    )
    .with_problems(&[404]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/checks/{check}"),
        "answerCheck",
        "Takes a check's answer, signed in `Handover-Signature` (docs/webhooks.md).",
        Taken::Json(of::<CheckAnswer>),
        Answered::Nothing,
    )
    .done()
    .with_problems(&[403, 409]),
    get(
        "/api/v1/groups",
        "listGroups",
        "Saved groups by name, with how many agents they hold now.",
        Answered::Page(of::<GroupInfo>),
    )
    .with_query(SLICE),
    get(
        "/api/v1/groups/{group}",
        "showGroup",
        "One saved group.",
        Answered::Tagged(of::<GroupInfo>),
    )
    .with_problems(&[404]),
    change(
        ("PUT", "/api/v1/groups/{group}"),
        "saveGroup",
        "Saves a selection under a name.",
        Taken::Json(of::<GroupRequest>),
        Answered::Tagged(of::<GroupInfo>),
    )
    .with_problems(&[404, 409, 412]),
    change(
        ("DELETE", "/api/v1/groups/{group}"),
        "removeGroup",
        "Removes a saved group; answers how it stood.",
        Taken::Nothing,
        Answered::Tagged(of::<GroupInfo>),
    )
    .with_query(&[q("anyway", Kind::Truth, "even if groups or live rollouts name it")])
    .with_problems(&[404, 409, 412]),
    get(
        "/api/v1/stop",
        "showStop",
        "Whether the fleet is stopped.",
        Answered::Tagged(of::<StopInfo>),
    ),
    change(
        ("PUT", "/api/v1/stop"),
        "stopFleet",
        "Stops every update that nobody has come for yet, or lets them go on.",
        Taken::Json(of::<StopRequest>),
        Answered::Tagged(of::<StopInfo>),
    )
    .with_problems(&[412]),
    get(
        "/api/v1/webhooks",
        "listWebhooks",
        "Webhooks, the oldest first, each with its newest deliveries; one page holds all.",
        Answered::Page(of::<WebhookInfo>),
    ),
    get(
        "/api/v1/webhooks/{webhook}",
        "showWebhook",
        "One webhook, with its newest deliveries.",
        Answered::Json(of::<WebhookInfo>),
    )
    .with_problems(&[404]),
    change(
        ("POST", "/api/v1/webhooks"),
        "createWebhook",
        "Makes a webhook; the answer alone has its secret.",
        Taken::Json(of::<WebhookRequest>),
        Answered::Json(of::<WebhookCreated>),
    )
    .created()
    .with_problems(&[409]),
    change(
        ("DELETE", "/api/v1/webhooks/{webhook}"),
        "removeWebhook",
        "Removes a webhook, with what waits for it; answers how it stood.",
        Taken::Nothing,
        Answered::Json(of::<WebhookInfo>),
    )
    .with_problems(&[404]),
];
