//! Operations that stand around rollouts: external checks, the fleet-wide stop, webhooks.

use handover_model::api::{
    CheckAnswer, CheckInfo, CheckSecret, StopInfo, StopRequest, WebhookCreated, WebhookInfo,
    WebhookRequest,
};

use super::operations::{Answered, Operation, Taken, change, get};
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
        "Removes a webhook, with what waits for it.",
        Taken::Nothing,
        Answered::Nothing,
    )
    .done()
    .with_problems(&[404]),
];
