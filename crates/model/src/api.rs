//! What the control plane's API says and takes, under `/api/v1`: JSON over HTTPS, problem
//! documents (RFC 9457) for whatever goes wrong, and the `OpenAPI` document made from these types.
//!
//! Answers only ever gain fields and readers ignore those that they do not know; requests with
//! fields that nobody knows are refused, so that a misspelt wish is never taken for none.

mod agents;
mod audit;
mod events;
mod explain;
mod orders;
mod page;
mod permission;
mod problem;
mod publishing;
mod releases;
mod rollouts;
mod server;
mod tokens;

pub use agents::{
    AgentDetail, AgentState, AgentSummary, ComponentSummary, LabelsChange, PinInfo, PinRequest,
    ReportInfo, RetireRequest,
};
pub use audit::{AuditBreak, AuditRow, Checkpoint, verify_audit};
pub use events::EventInfo;
pub use explain::{Explanation, Layer, LayerKind, Lift, Lifter};
pub use orders::{
    ClearQuarantineRequest, OrderInfo, OrderRequest, OrderState, OrderStep, RollbackRequest,
};
pub use page::{MOST_PER_PAGE, PER_PAGE, Page};
pub use permission::{Permission, UnknownPermission};
pub use problem::{FieldProblem, PROBLEM_TYPE, Problem};
pub use publishing::{PublishRequest, Published, Staged};
pub use releases::{
    BlockedRelease, ComponentReleases, ComponentUpdates, Edge, Inventory, InventoryComponent,
    InventoryVersion, ReleaseDetail, ReleaseGraph, ReleaseInfo, UpdatesAvailable,
};
pub use rollouts::{
    ActRequest, AfterSpec, Alert, Approval, ApproveRequest, CheckAnswer, CheckHow, CheckInfo,
    CheckSecret, CheckSpec, CheckVerdict, Counts, Deciding, DeliveryInfo, EvidenceInfo, GateSpec,
    GroupInfo, GroupRequest, HaltInfo, Hold, HoldCode, HoldLifter, LeaveOutRequest, LeftOut,
    LimitSpec, MemberInfo, MemberOutcome, Membership, OnDecay, OnHalt, Play, PreviewPath,
    PreviewRequest, PreviewWave, Requirement, Rest, RetrySpec, RevertRequest, RolloutInfo,
    RolloutKind, RolloutPreview, RolloutSpec, RolloutState, SelectionPreview, SelectionRequest,
    StopInfo, StopRequest, Strategy, StratumInfo, WaveInfo, WaveSpec, WaveState, WebhookCreated,
    WebhookInfo, WebhookRequest,
};
pub use server::{Health, HealthCheck, RepositoryInfo, ServerInfo};
pub use tokens::{
    ApiTokenCreated, ApiTokenInfo, ApiTokenRequest, TokenCreated, TokenInfo, TokenRequest,
    TokenState,
};

/// The header that makes repeating a request harmless: the same key with the same request gets
/// the answer of the first one.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";
