//! Operations of rollouts and selections.

use handover_model::api::{
    ActRequest, ApproveRequest, LeaveOutRequest, MemberInfo, PreviewRequest, RevertRequest,
    RolloutInfo, RolloutPreview, RolloutSpec, SelectionPreview, SelectionRequest,
};

use super::operations::{AFTER, Answered, Kind, LIMIT, Operation, Taken, change, get, q};
use super::write::of;

const STATES: &[&str] = &[
    "scheduled",
    "running",
    "paused",
    "halted",
    "reverting",
    "reverted",
    "done",
    "aborted",
    "superseded",
];
const OUTCOMES: &[&str] = &[
    "waiting",
    "released",
    "away",
    "running",
    "done",
    "failed",
    "decayed",
    "silent",
    "refused",
    "withdrawn",
    "satisfied",
    "left_out",
];

/// All of them.
pub(super) static ROLLOUTS: &[Operation] = &[
    get("/api/v1/rollouts", "listRollouts", "Rollouts, the newest first.", Answered::Page(of::<RolloutInfo>))
        .with_query(&[
            AFTER,
            LIMIT,
            q("state", Kind::OneOf(STATES), "in this state"),
            q("component", Kind::Component, "of this component"),
            q("open", Kind::Truth, "only those that are not over"),
        ]),
    change(
        ("POST", "/api/v1/rollouts"),
        "createRollout",
        "Makes a rollout. Everything that can be known to go wrong is said, and nothing is made then.",
        Taken::Json(of::<RolloutSpec>),
        Answered::Json(of::<RolloutInfo>),
    )
    .created()
    .with_problems(&[409]),
    change(
        ("POST", "/api/v1/rollouts/preview"),
        "previewRollout",
        "What a rollout would do: its waves, ways and warnings, and plays against a simulated fleet.",
        Taken::Json(of::<PreviewRequest>),
        Answered::Json(of::<RolloutPreview>),
    )
    .with_problems(&[409]),
    get("/api/v1/rollouts/{rollout}", "showRollout", "A rollout, by id or name.", Answered::Tagged(of::<RolloutInfo>))
        .with_problems(&[404]),
    change(
        ("PUT", "/api/v1/rollouts/{rollout}"),
        "changeRollout",
        "Changes what may change of a rollout that is not over; needs `If-Match`.",
        Taken::Json(of::<RolloutSpec>),
        Answered::Tagged(of::<RolloutInfo>),
    )
    .with_problems(&[404, 409, 412, 428]),
    get(
        "/api/v1/rollouts/{rollout}/members",
        "listMembers",
        "The members, in the order in which they come.",
        Answered::Page(of::<MemberInfo>),
    )
    .with_query(&[
        q("after", Kind::Number, "`next` of the page before"),
        LIMIT,
        q("wave", Kind::Number, "of this wave, counted from 0"),
        q("outcome", Kind::OneOf(OUTCOMES), "that stand so"),
    ])
    .with_problems(&[404]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/approve"),
        "approveRollout",
        "Lets a wave begin.",
        Taken::Perhaps(of::<ApproveRequest>),
        Answered::Json(of::<RolloutInfo>),
    )
    .with_problems(&[404, 409, 412]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/pause"),
        "pauseRollout",
        "Stops a rollout for now: no order is handed out after the answer.",
        Taken::Perhaps(of::<ActRequest>),
        Answered::Json(of::<RolloutInfo>),
    )
    .with_problems(&[404, 409, 412]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/resume"),
        "resumeRollout",
        "Lets a rollout go on; after a halt this accepts what was seen until now.",
        Taken::Perhaps(of::<ActRequest>),
        Answered::Json(of::<RolloutInfo>),
    )
    .with_problems(&[404, 409, 412]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/abort"),
        "abortRollout",
        "Ends a rollout where it stands; hosts stay as they are.",
        Taken::Perhaps(of::<ActRequest>),
        Answered::Json(of::<RolloutInfo>),
    )
    .with_problems(&[404, 409, 412]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/revert"),
        "revertRollout",
        "Takes hosts back: makes a rollout of its own, with a ramp and a gate, and answers it.",
        Taken::Perhaps(of::<RevertRequest>),
        Answered::Json(of::<RolloutInfo>),
    )
    .created()
    .with_problems(&[404, 409, 412]),
    change(
        ("POST", "/api/v1/rollouts/{rollout}/leave-out"),
        "leaveOut",
        "Leaves hosts out: they get no order, and what they said does not count.",
        Taken::Json(of::<LeaveOutRequest>),
        Answered::Json(of::<RolloutInfo>),
    )
    .with_problems(&[404, 409, 410, 412]),
    change(
        ("POST", "/api/v1/selections/preview"),
        "previewSelection",
        "What a selection matches now.",
        Taken::Json(of::<SelectionRequest>),
        Answered::Json(of::<SelectionPreview>),
    ),
];
