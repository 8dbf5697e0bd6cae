//! The stable codes of problems. One that was released is never reused for anything else.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// What went wrong, for programs. `docs/errors.md` has the list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code, as documents carry it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it is, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request can't be read.
    Malformed = BAD_REQUEST, "malformed", "The request can't be read";
    /// No credentials, or none that count here.
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "Credentials are missing or unknown";
    /// The credentials don't allow it.
    Forbidden = FORBIDDEN, "forbidden", "These credentials do not allow that";
    /// There is nothing there.
    NotFound = NOT_FOUND, "not-found", "There is nothing there";
    /// The path has no such method.
    Method = METHOD_NOT_ALLOWED, "method", "This path has no such method";
    /// Somebody was first, or the state does not allow it.
    Conflict = CONFLICT, "conflict", "The state does not allow that";
    /// `If-Match` names an older state.
    Changed = PRECONDITION_FAILED, "changed", "It has changed since";
    /// `If-Match` is missing.
    MatchNeeded = PRECONDITION_REQUIRED, "if-match", "If-Match is needed";
    /// The same idempotency key came with another request.
    KeyReused = UNPROCESSABLE_ENTITY, "idempotency-key", "The idempotency key was used for another request";
    /// The request is understood but asks for something impossible.
    Invalid = UNPROCESSABLE_ENTITY, "invalid", "That can't be done";
    /// The body is too large.
    TooLarge = PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    /// The head is too large.
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The head is too large";
    /// The body is of another media type.
    MediaType = UNSUPPORTED_MEDIA_TYPE, "media-type", "The body is of another type";
    /// The request took too long to arrive.
    Slow = REQUEST_TIMEOUT, "slow", "The request took too long to arrive";
    /// Too many requests.
    RateLimited = TOO_MANY_REQUESTS, "rate-limited", "Too many requests";
    /// The server can't do it now.
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "Not now";
    /// The server took too long.
    Timeout = GATEWAY_TIMEOUT, "timeout", "The server took too long";
    /// The server failed.
    Internal = INTERNAL_SERVER_ERROR, "internal", "The server failed";
    /// The agent speaks a protocol version that this server does not.
    Protocol = UPGRADE_REQUIRED, "protocol.unsupported", "Another protocol version is needed";
    /// The enrolment token is of another control plane, or was never made.
    TokenUnknown = FORBIDDEN, "token.unknown", "The token is not known here";
    /// The enrolment token was used.
    TokenUsed = CONFLICT, "token.used", "The token was used";
    /// The token has expired.
    TokenExpired = GONE, "token.expired", "The token has expired";
    /// The token was revoked.
    TokenRevoked = GONE, "token.revoked", "The token was revoked";
    /// A living agent has the name.
    NameTaken = CONFLICT, "name.taken", "A living agent has that name";
    /// A proof or a signature does not hold.
    Unproved = FORBIDDEN, "unproved", "A signature does not hold";
    /// The agent was retired.
    AgentRetired = GONE, "agent.retired", "The agent was retired";
    /// A report was skipped.
    ReportGap = CONFLICT, "report.gap", "A report is missing";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_problems_share_a_code() {
        let codes: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
    }
}
