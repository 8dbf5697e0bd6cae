//! Every operation, described: what it is for, what it takes and what it answers.

use handover_model::api::{
    AgentDetail, AgentSummary, ApiTokenCreated, ApiTokenInfo, ApiTokenRequest, AuditRow,
    ClearQuarantineRequest, ComponentReleases, EventInfo, Explanation, Health, Inventory,
    LabelsChange, OrderInfo, OrderRequest, PinInfo, PinRequest, PublishRequest, Published,
    ReleaseDetail, ReleaseGraph, ReportInfo, RetireRequest, ServerInfo, Staged, TokenCreated,
    TokenInfo, TokenRequest, UpdatesAvailable,
};

use super::around::AROUND;
use super::rollouts::ROLLOUTS;
use super::write::{Schema, of};

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    /// As it is mounted.
    pub(crate) path: &'static str,
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) body: Taken,
    pub(super) status: u16,
    pub(super) answer: Answered,
    /// Statuses of problems beside those that every operation has.
    pub(super) problems: &'static [u16],
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Texts,
    /// In the language of selections.
    Selection,
    Number,
    Limit,
    Truth,
    Component,
    Version,
    Agent,
    Order,
    OneOf(&'static [&'static str]),
}

/// The body that an operation takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taken {
    Nothing,
    Json(Schema),
    /// May be left out.
    Perhaps(Schema),
    /// An object without fields; may be left out.
    Empty,
    Bytes,
}

/// What an operation answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answered {
    Json(Schema),
    /// With an `ETag`.
    Tagged(Schema),
    Page(Schema),
    List(Schema),
    /// A page of signed documents.
    Documents,
    Text,
    /// Status 204.
    Nothing,
    Events(Schema),
    File,
    OpenApi,
}

pub(super) const fn q(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, about, kind }
}

pub(super) const fn get(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    answer: Answered,
) -> Operation {
    change(("GET", path), id, about, Taken::Nothing, answer)
}

pub(super) const fn change(
    (method, path): (&'static str, &'static str),
    id: &'static str,
    about: &'static str,
    body: Taken,
    answer: Answered,
) -> Operation {
    Operation { method, path, id, about, query: &[], body, status: 200, answer, problems: &[] }
}

impl Operation {
    pub(super) const fn with_query(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn with_problems(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }

    pub(super) const fn done(self) -> Self {
        Self { status: 204, ..self }
    }

    pub(super) const fn created(self) -> Self {
        Self { status: 201, ..self }
    }
}

pub(super) const AFTER: Parameter = q("after", Kind::Text, "`next` of the page before");
pub(super) const LIMIT: Parameter = q("limit", Kind::Limit, "how many items a page may have");
pub(super) const SLICE: &[Parameter] = &[AFTER, LIMIT];
const AGENT_STATES: &[&str] = &["present", "away", "cloned", "retired"];
const ORDER_STATES: &[&str] = &[
    "pending",
    "handed_out",
    "accepted",
    "cancelling",
    "running",
    "done",
    "failed",
    "reverted",
    "refused",
    "cancelled",
    "expired",
    "superseded",
    "voided",
];

/// What probes, monitoring and everybody else ask.
static OPEN: &[Operation] = &[
    get("/healthz", "healthz", "Says that the process answers.", Answered::Json(of::<Health>)),
    get("/readyz", "readyz", "Says whether the database answers.", Answered::Json(of::<Health>)),
    get("/metrics", "metrics", "Figures, as Prometheus reads them.", Answered::Text),
    get("/repository/metadata/{name}", "metadata", "A signed metadata file.", Answered::File)
        .with_problems(&[404, 416]),
    get("/repository/targets/{*path}", "target", "A package.", Answered::File)
        .with_problems(&[404, 416]),
    get("/api/v1/openapi.json", "openapi", "This document.", Answered::OpenApi),
    get("/api/v1/info", "info", "The server about itself.", Answered::Json(of::<ServerInfo>)),
    get("/api/v1/whoami", "whoami", "The token that calls.", Answered::Tagged(of::<ApiTokenInfo>))
        .with_problems(&[404]),
];

/// About agents.
static AGENTS: &[Operation] = &[
    get("/api/v1/agents", "listAgents", "Agents, by name.", Answered::Page(of::<AgentSummary>))
        .with_query(&[
            AFTER,
            LIMIT,
            q("label", Kind::Texts, "`key=value`; several must all hold"),
            q("state", Kind::OneOf(AGENT_STATES), "how they stand"),
            q("component", Kind::Component, "have this component"),
            q("version", Kind::Version, "have it at this version; needs `component`"),
            q("name", Kind::Text, "have a name that begins like this"),
            q("retired", Kind::Truth, "retired ones too"),
            q("select", Kind::Selection, "a selection (docs/selections.md) means them"),
        ])
        .with_problems(&[422]),
    get(
        "/api/v1/agents/{agent}",
        "showAgent",
        "One agent, whole.",
        Answered::Tagged(of::<AgentDetail>),
    )
    .with_problems(&[404]),
    change(
        ("PATCH", "/api/v1/agents/{agent}"),
        "changeLabels",
        "Changes labels.",
        Taken::Json(of::<LabelsChange>),
        Answered::Tagged(of::<AgentDetail>),
    )
    .with_problems(&[404, 409, 410, 412]),
    change(
        ("POST", "/api/v1/agents/{agent}/retire"),
        "retireAgent",
        "Sends an agent away for good and voids its open orders.",
        Taken::Perhaps(of::<RetireRequest>),
        Answered::Json(of::<AgentDetail>),
    )
    .with_problems(&[404, 409, 412]),
    get(
        "/api/v1/agents/{agent}/updates/available",
        "updatesAvailable",
        "What could be ordered, what not, and why.",
        Answered::Json(of::<UpdatesAvailable>),
    )
    .with_problems(&[404]),
    change(
        ("POST", "/api/v1/agents/{agent}/update"),
        "updateAgent",
        "Orders an update.",
        Taken::Json(of::<OrderRequest>),
        Answered::Json(of::<OrderInfo>),
    )
    .created()
    .with_problems(&[404, 409, 410]),
    change(
        ("POST", "/api/v1/agents/{agent}/rollback"),
        "rollBackAgent",
        "Orders a return to a release that is kept on the host.",
        Taken::Json(of::<OrderRequest>),
        Answered::Json(of::<OrderInfo>),
    )
    .created()
    .with_problems(&[404, 409, 410]),
    change(
        ("PUT", "/api/v1/agents/{agent}/pins/{component}"),
        "pin",
        "Pins a component; the host's own pin goes on counting.",
        Taken::Json(of::<PinRequest>),
        Answered::Tagged(of::<PinInfo>),
    )
    .with_problems(&[404, 409, 410, 412]),
    change(
        ("DELETE", "/api/v1/agents/{agent}/pins/{component}"),
        "unpin",
        "Takes the control plane's pin away.",
        Taken::Nothing,
        Answered::Tagged(of::<PinInfo>),
    )
    .with_problems(&[404, 409, 410, 412]),
    change(
        ("POST", "/api/v1/agents/{agent}/quarantine/clear"),
        "clearQuarantine",
        "Lets releases that failed on the host be tried again.",
        Taken::Json(of::<ClearQuarantineRequest>),
        Answered::Json(of::<OrderInfo>),
    )
    .created()
    .with_problems(&[404, 409, 410]),
    get(
        "/api/v1/agents/{agent}/explain",
        "explainAgent",
        "Why its components stand where they stand.",
        Answered::List(of::<Explanation>),
    )
    .with_query(&[q("component", Kind::Component, "only this one")])
    .with_problems(&[404]),
    get(
        "/api/v1/agents/{agent}/timeline",
        "timeline",
        "What happened to it, the newest first.",
        Answered::Page(of::<EventInfo>),
    )
    .with_query(SLICE)
    .with_problems(&[404]),
    get(
        "/api/v1/agents/{agent}/reports",
        "reports",
        "What it signed, the newest first.",
        Answered::Page(of::<ReportInfo>),
    )
    .with_query(SLICE)
    .with_problems(&[404]),
];

/// About orders and tokens.
static ORDERS: &[Operation] = &[
    get("/api/v1/orders", "listOrders", "Orders, newest first.", Answered::Page(of::<OrderInfo>))
        .with_query(&[
            AFTER,
            LIMIT,
            q("agent", Kind::Agent, "for this agent"),
            q("state", Kind::OneOf(ORDER_STATES), "in this state"),
            q("component", Kind::Component, "about this component"),
            q("open", Kind::Truth, "only those that have not ended"),
        ])
        .with_problems(&[404]),
    get(
        "/api/v1/orders/{order}",
        "showOrder",
        "One order, with its history.",
        Answered::Json(of::<OrderInfo>),
    )
    .with_problems(&[404]),
    change(
        ("POST", "/api/v1/orders/{order}/cancel"),
        "cancelOrder",
        "Cancels an order that was not begun.",
        Taken::Empty,
        Answered::Json(of::<OrderInfo>),
    )
    .with_problems(&[404, 409]),
    get(
        "/api/v1/tokens",
        "listTokens",
        "Enrolment tokens, the newest first.",
        Answered::Page(of::<TokenInfo>),
    )
    .with_query(SLICE),
    change(
        ("POST", "/api/v1/tokens"),
        "createToken",
        "Makes a token that enrols one host.",
        Taken::Json(of::<TokenRequest>),
        Answered::Json(of::<TokenCreated>),
    )
    .created(),
    change(
        ("DELETE", "/api/v1/tokens/{token}"),
        "revokeToken",
        "Revokes an enrolment token that was not used.",
        Taken::Nothing,
        Answered::Tagged(of::<TokenInfo>),
    )
    .with_problems(&[404, 409, 412]),
    get(
        "/api/v1/api-tokens",
        "listApiTokens",
        "API tokens, the newest first.",
        Answered::Page(of::<ApiTokenInfo>),
    )
    .with_query(SLICE),
    change(
        ("POST", "/api/v1/api-tokens"),
        "createApiToken",
        "Makes an API token with no more permissions than the caller's.",
        Taken::Json(of::<ApiTokenRequest>),
        Answered::Json(of::<ApiTokenCreated>),
    )
    .created(),
    change(
        ("DELETE", "/api/v1/api-tokens/{token}"),
        "revokeApiToken",
        "Revokes an API token.",
        Taken::Nothing,
        Answered::Tagged(of::<ApiTokenInfo>),
    )
    .with_problems(&[404, 409, 412]),
];

/// About releases, and what happened.
static RELEASES: &[Operation] = &[
    get(
        "/api/v1/releases",
        "listReleases",
        "What the repository offers.",
        Answered::Page(of::<ComponentReleases>),
    ),
    get(
        "/api/v1/releases/{component}",
        "showReleases",
        "Every release of a component.",
        Answered::Json(of::<ReleaseDetail>),
    )
    .with_problems(&[404]),
    get(
        "/api/v1/releases/{component}/graph",
        "releaseGraph",
        "Which release can follow which.",
        Answered::Json(of::<ReleaseGraph>),
    )
    .with_problems(&[404]),
    change(
        ("PUT", "/api/v1/repository/staging/{*path}"),
        "stage",
        "Takes a signed repository file; nothing of it is believed before it is published.",
        Taken::Bytes,
        Answered::Json(of::<Staged>),
    )
    .with_problems(&[409]),
    change(
        ("POST", "/api/v1/repository/publish"),
        "publish",
        "Swaps in what was staged, once it is verified as a host would verify it.",
        Taken::Perhaps(of::<PublishRequest>),
        Answered::Json(of::<Published>),
    )
    .with_problems(&[409]),
    get("/api/v1/inventory", "inventory", "What runs where.", Answered::Json(of::<Inventory>)),
    get("/api/v1/audit", "audit", "Who changed what.", Answered::Page(of::<AuditRow>))
        .with_query(&[AFTER, LIMIT, q("subject", Kind::Text, "what was changed: an id")]),
    get(
        "/api/v1/audit/checkpoints",
        "checkpoints",
        "Signed heads of the audit trail, the oldest first.",
        Answered::Documents,
    )
    .with_query(SLICE),
    get("/api/v1/events", "events", "What happens, as it does.", Answered::Events(of::<EventInfo>))
        .with_query(&[
            q("agent", Kind::Agent, "about this agent"),
            q("order", Kind::Order, "about this order"),
            q("rollout", Kind::Text, "about this rollout, by id or name, and its orders"),
            q("kind", Kind::Texts, "of these kinds; `order.` means all that begin so"),
            q("after", Kind::Number, "after this number; `Last-Event-ID` goes before it"),
        ])
        .with_problems(&[404, 410]),
];

/// Every operation of the server but the agents' own.
pub(crate) fn operations() -> impl Iterator<Item = &'static Operation> {
    [OPEN, AGENTS, ORDERS, ROLLOUTS, RELEASES, AROUND].into_iter().flatten()
}
