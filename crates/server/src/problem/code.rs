//! The stable codes of problems. One that was released is never reused for anything else.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// What went wrong, for programs. `docs/api.md` has the list.
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
    KeyReused = UNPROCESSABLE_ENTITY, "idempotency.other-request", "The idempotency key was used for another request";
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
    /// The caller takes no JSON.
    NotAcceptable = NOT_ACCEPTABLE, "not-acceptable", "No type that is asked for is spoken here";
    /// The range is beyond the file's end.
    Range = RANGE_NOT_SATISFIABLE, "range", "The range is beyond the end";
    /// Two machines use the agent's identity.
    AgentCloned = CONFLICT, "agent.cloned", "The agent's identity is used twice";
    /// The order runs.
    OrderRunning = CONFLICT, "order.running", "The order runs";
    /// The order has ended.
    OrderEnded = CONFLICT, "order.ended", "The order has ended";
    /// An order for the same component is open.
    OrderOpen = CONFLICT, "order.open", "An order for the same component is open";
    /// The component is at another version than was expected.
    OrderExpect = CONFLICT, "order.expect", "The host is not as was expected";
    /// Nothing is in quarantine.
    OrderNotQuarantined = CONFLICT, "order.not-quarantined", "Nothing of it is in quarantine";
    /// The host runs that version already.
    OrderAlreadyThere = CONFLICT, "order.already-there", "That version is there already";
    /// The release that runs was revoked, and nothing better can be reached.
    OrderRunningRevoked = CONFLICT, "order.running-revoked", "What runs was revoked";
    /// A trial is pending on the host.
    OrderTrialPending = CONFLICT, "order.trial-pending", "A trial is pending";
    /// The host's clock can't be right.
    OrderClockOff = CONFLICT, "order.clock-off", "The host's clock is off";
    /// The repository has no such component.
    OrderNotOffered = UNPROCESSABLE_ENTITY, "order.not-offered", "No release of it is offered";
    /// Not for this platform.
    OrderPlatformMissing = UNPROCESSABLE_ENTITY, "order.platform-missing", "It is not offered for the platform";
    /// The host's channel is empty.
    OrderChannelEmpty = UNPROCESSABLE_ENTITY, "order.channel-empty", "The channel is empty";
    /// There is no such version for the host.
    OrderNoSuchRelease = UNPROCESSABLE_ENTITY, "order.no-such-release", "That version is not offered";
    /// Newer programs alone can read it.
    OrderTooNew = CONFLICT, "order.too-new", "It is too new for this program";
    /// The host's own pin excludes it.
    OrderPinned = CONFLICT, "order.pinned", "The host's pin excludes it";
    /// The control plane's pin excludes it.
    OrderControlPinned = CONFLICT, "order.control-pinned", "The control plane's pin excludes it";
    /// It failed on the host.
    OrderQuarantined = CONFLICT, "order.quarantined", "It is in quarantine on the host";
    /// Its keyholders revoked it.
    OrderRevoked = CONFLICT, "order.revoked", "It was revoked";
    /// Below the host's floor.
    OrderBelowFloor = CONFLICT, "order.below-floor", "It is below the host's floor";
    /// No way leads there.
    OrderNoPath = CONFLICT, "order.no-path", "No way leads there";
    /// Going back that far needs a permit.
    OrderNeedsPermit = CONFLICT, "order.needs-permit", "It needs a signed permit";
    /// It is kept on the host.
    OrderKeptHere = CONFLICT, "order.kept-here", "It is kept on the host: roll back to it";
    /// Nothing is kept to go back to.
    OrderNothingKept = CONFLICT, "order.nothing-kept", "Nothing is kept to go back to";
    /// That version is not kept.
    OrderNotKept = CONFLICT, "order.not-kept", "That version is not kept on the host";
    /// The host's launcher is too old for it.
    OrderLauncherTooOld = CONFLICT, "order.launcher-too-old", "The host's launcher is too old";
    /// The host would refuse it for another reason.
    OrderRefused = CONFLICT, "order.refused", "The host would refuse it";
    /// The repository is on another file server.
    RepositoryElsewhere = CONFLICT, "repository.elsewhere", "The repository is not kept here";
    /// Nothing is staged.
    NothingStaged = CONFLICT, "repository.nothing-staged", "Nothing is staged";
    /// The first publication has to say which root is trusted.
    RootNeeded = CONFLICT, "repository.root-needed", "The root to trust has to be named";
    /// Another root than the one that is pinned.
    OtherRoot = CONFLICT, "repository.other-root", "Another root is pinned";
    /// A package that is offered is not there.
    TargetMissing = CONFLICT, "repository.target-missing", "A package is missing";
    /// What is staged does not verify.
    RepositoryRefused = UNPROCESSABLE_ENTITY, "repository.refused", "The repository does not verify";
    /// A signing key was sent.
    PrivateKey = UNPROCESSABLE_ENTITY, "repository.private-key", "Private keys are refused";
    /// A newer answer of the check is there.
    CheckStale = CONFLICT, "check.stale", "A newer answer is there";
    /// The selection is no selection.
    SelectionMalformed = UNPROCESSABLE_ENTITY, "selection.malformed", "The selection can't be read";
    /// The selection names what is not there.
    SelectionUnknown = UNPROCESSABLE_ENTITY, "selection.unknown", "The selection names what is not there";
    /// The group would hold itself.
    GroupCycle = UNPROCESSABLE_ENTITY, "group.cycle", "The group would hold itself";
    /// Other groups, or rollouts that are not over, name the group.
    GroupUsed = CONFLICT, "group.used", "The group is named elsewhere";
    /// The selection matches nobody.
    SelectionEmpty = UNPROCESSABLE_ENTITY, "selection.empty", "The selection matches no agent";
    /// The selection matches every agent, and nobody said that this is meant.
    SelectionEverything = CONFLICT, "selection.everything", "The selection matches every agent";
    /// Everybody who matches is there already, or can't be a member.
    RolloutNothingToDo = CONFLICT, "rollout.nothing-to-do", "There is nothing to roll out";
    /// The specification can't work.
    RolloutSpec = UNPROCESSABLE_ENTITY, "rollout.spec", "The rollout can't work like that";
    /// Percentages that don't nest.
    RolloutPercent = UNPROCESSABLE_ENTITY, "rollout.percent", "The percentages don't nest";
    /// A window that is none, or that never opens.
    RolloutWindow = UNPROCESSABLE_ENTITY, "rollout.window", "A window never opens";
    /// The release was revoked.
    ReleaseRevoked = CONFLICT, "release.revoked", "The release was revoked";
    /// There is no such release.
    ReleaseUnknown = UNPROCESSABLE_ENTITY, "release.unknown", "There is no such release";
    /// A pin excludes the release on some of the agents.
    RolloutPinned = CONFLICT, "rollout.pinned", "A pin excludes the release";
    /// A floor, or a way that is missing, keeps some of the agents from the release.
    RolloutFloor = CONFLICT, "rollout.floor", "No way leads to the release";
    /// Some of the agents can't take it, for another reason.
    RolloutUnable = CONFLICT, "rollout.unable", "Some agents can't take the release";
    /// Another rollout of the same component has some of the agents.
    RolloutOverlap = CONFLICT, "rollout.overlap", "Another rollout has some of the agents";
    /// A rollout that is not over has the name.
    RolloutName = CONFLICT, "rollout.name", "A rollout that is not over has that name";
    /// What is wanted does not fit how the rollout stands.
    RolloutState = CONFLICT, "rollout.state", "The rollout does not stand so";
    /// There is no such wave.
    RolloutNoWave = UNPROCESSABLE_ENTITY, "rollout.no-wave", "There is no such wave";
    /// The wave waits for nobody.
    RolloutNoApproval = CONFLICT, "rollout.no-approval", "The wave needs no approval";
    /// No wave waits for an approval.
    RolloutNothingWaits = CONFLICT, "rollout.nothing-waits", "No wave waits for approval";
    /// The wave was approved.
    RolloutApproved = CONFLICT, "rollout.approved", "The wave was approved already";
    /// There is no such member.
    RolloutNoMember = UNPROCESSABLE_ENTITY, "rollout.no-member", "There is no such member";
    /// No host was touched.
    RolloutNothingTouched = CONFLICT, "rollout.nothing-touched", "No host was touched";
    /// What is to change can't change any more.
    RolloutFixed = CONFLICT, "rollout.fixed", "That can't change any more";
    /// Events that are asked for are not kept any more.
    EventsGone = GONE, "events.gone", "Events were forgotten";
}

impl Code {
    /// The problem of an order that the host would refuse, by the host's own code.
    pub(crate) fn of_refusal(code: &str) -> Self {
        let found = Self::ALL
            .iter()
            .find(|one| one.as_str().strip_prefix("order.").is_some_and(|rest| rest == code));
        found.copied().unwrap_or(Self::OrderRefused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_problems_share_a_code() {
        let codes: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
    }

    #[test]
    fn every_code_is_documented() {
        let listed = include_str!("../../../../docs/api.md");
        let is_listed = |code: &Code| {
            listed.contains(&format!("| `{}` | {} |", code.as_str(), code.status().as_u16()))
        };
        let missing: Vec<_> =
            Code::ALL.iter().filter(|code| !is_listed(code)).map(|code| code.as_str()).collect();
        assert!(missing.is_empty(), "docs/api.md does not list {missing:?}");
    }
}
