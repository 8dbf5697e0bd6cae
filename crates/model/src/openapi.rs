//! Schemas of the values that are texts on the wire, for the `OpenAPI` document.

use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::{
    AgentId, AgentName, ComponentName, DeliveryId, Digest, EventId, GroupName, Labels, Millis,
    OrderId, Pin, Platform, RolloutId, RolloutName, RunId, SessionId, Timestamp, TokenId, Version,
    VersionRange, WebhookId,
};

macro_rules! text {
    ($type:ty, $about:literal, $example:literal, $pattern:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let pattern: Option<&str> = $pattern;
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .description(Some($about))
                    .pattern(pattern)
                    .max_length(Some(256))
                    .examples([serde_json::json!($example)])
                    .into()
            }
        }

        impl ToSchema for $type {}
    };
}

text!(AgentName, "an agent's name", "web-1", Some("^[a-z](-?[a-z0-9]){0,39}$"));
text!(ComponentName, "a component's name", "web", Some("^[a-z](-?[a-z0-9]){0,39}$"));
text!(RolloutName, "a rollout's name", "web-15", Some("^[a-z](-?[a-z0-9]){0,39}$"));
text!(GroupName, "a saved group's name", "canaries", Some("^[a-z](-?[a-z0-9]){0,39}$"));
text!(
    RolloutId,
    "a rollout's id",
    "rollout_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^rollout_[0-9a-f]{32}$")
);
text!(
    WebhookId,
    "a webhook's id",
    "webhook_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^webhook_[0-9a-f]{32}$")
);
text!(
    DeliveryId,
    "a delivery's id",
    "delivery_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^delivery_[0-9a-f]{32}$")
);
text!(
    AgentId,
    "an agent's id",
    "agent_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^agent_[0-9a-f]{32}$")
);
text!(
    OrderId,
    "an order's id",
    "order_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^order_[0-9a-f]{32}$")
);
text!(
    TokenId,
    "a token's id",
    "token_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^token_[0-9a-f]{32}$")
);
text!(
    SessionId,
    "the id of a process's life",
    "session_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^session_[0-9a-f]{32}$")
);
text!(
    EventId,
    "an event's id",
    "event_01890a5d4c7b7f3d8a2b6c1e5f904b37",
    Some("^event_[0-9a-f]{32}$")
);
text!(RunId, "a run's id", "run_01890a5d4c7b7f3d8a2b6c1e5f904b37", Some("^run_[0-9a-f]{32}$"));
text!(
    Digest,
    "a SHA-256 digest",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    Some("^[0-9a-f]{64}$")
);
text!(
    Version,
    "a version (Semantic Versioning 2.0.0, without build metadata)",
    "1.4.0",
    Some(
        r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(-[a-z]{1,9}(\.[1-9][0-9]{0,2})?)?$"
    )
);
text!(VersionRange, "a range of versions", ">=1.2.0, <2.0.0", None);
text!(Pin, "a version, or a range of versions", ">=1.2, <2", None);
text!(Platform, "a platform, or `any`", "linux-x86_64", None);
text!(Millis, "a length of time", "1h 30m", None);

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("a time (RFC 3339, UTC)"))
            .into()
    }
}

impl ToSchema for Timestamp {}

impl PartialSchema for Labels {
    fn schema() -> RefOr<Schema> {
        let value =
            ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).max_length(Some(128));
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Object))
            .description(Some("labels, at most 32"))
            .property_names(Some(
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .pattern(Some("^[a-z][a-z0-9._/-]{0,62}$")),
            ))
            .additional_properties(Some(AdditionalProperties::from(value)))
            .max_properties(Some(32))
            .into()
    }
}

impl ToSchema for Labels {}
