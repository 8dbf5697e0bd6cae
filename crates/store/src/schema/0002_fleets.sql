-- Rollouts: what was asked for, the plan that was drawn of it, and how far it is. Advancing a wave
-- writes one row of this table and no other.
CREATE TABLE rollouts (
    key {key},
    id {text} NOT NULL UNIQUE,
    name {text} NOT NULL,
    kind {text} NOT NULL,
    component {text} NOT NULL,
    spec {text} NOT NULL,
    state {text} NOT NULL,
    priority BIGINT NOT NULL,
    -- How many members, in the roster's order, may get their order.
    released BIGINT NOT NULL,
    members BIGINT NOT NULL,
    -- The plan: seed, waves, strata, baseline. Drawn when the rollout starts, never changed but
    -- for late joiners.
    plan {text},
    -- The controller's own record: wave, step, approvals, halt, alerts, members left out.
    progress {text} NOT NULL,
    -- What its members say, counted: a copy for lists; orders are the source.
    counts {text} NOT NULL,
    of_rollout {text},
    of_wave BIGINT,
    reverted_by {text},
    superseded_by {text},
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    start_at BIGINT,
    started_at BIGINT,
    changed_at BIGINT NOT NULL,
    ended_at BIGINT,
    watch_until BIGINT,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX rollouts_open_name ON rollouts (name) WHERE ended_at IS NULL;
CREATE INDEX rollouts_by_name ON rollouts (name, key);
CREATE INDEX rollouts_by_state ON rollouts (state, key);
CREATE INDEX rollouts_by_component ON rollouts (component, key);
CREATE INDEX rollouts_live ON rollouts (key)
    WHERE ended_at IS NULL OR watch_until IS NOT NULL OR state = 'reverting';

-- The roster, in order, 5,000 members to a row.
CREATE TABLE rollout_members (
    rollout BIGINT NOT NULL REFERENCES rollouts (key),
    chunk BIGINT NOT NULL,
    members {text} NOT NULL,
    PRIMARY KEY (rollout, chunk)
);

-- Hosts that went back to another release by themselves after they had proved this one.
CREATE TABLE rollout_decays (
    rollout BIGINT NOT NULL REFERENCES rollouts (key),
    position BIGINT NOT NULL,
    agent BIGINT NOT NULL REFERENCES agents (key),
    at BIGINT NOT NULL,
    code {text} NOT NULL,
    words {text},
    PRIMARY KEY (rollout, position)
);

-- The newest answer of each external check.
CREATE TABLE rollout_checks (
    rollout BIGINT NOT NULL REFERENCES rollouts (key),
    name {text} NOT NULL,
    verdict {text},
    reason {text},
    answered_at BIGINT,
    asked_at BIGINT,
    generation BIGINT NOT NULL,
    PRIMARY KEY (rollout, name)
);

ALTER TABLE orders ADD COLUMN rollout BIGINT REFERENCES rollouts (key);
ALTER TABLE orders ADD COLUMN position BIGINT;
ALTER TABLE orders ADD COLUMN attempt BIGINT;
ALTER TABLE orders ADD COLUMN accepted_at BIGINT;
ALTER TABLE orders ADD COLUMN activate_at BIGINT;
CREATE INDEX orders_by_rollout ON orders (rollout, position, key) WHERE rollout IS NOT NULL;
CREATE INDEX orders_open_by_rollout ON orders (rollout, key)
    WHERE rollout IS NOT NULL AND ended_at IS NULL;
CREATE INDEX orders_ended ON orders (ended_at) WHERE ended_at IS NOT NULL;

ALTER TABLE events ADD COLUMN rollout {text};
CREATE INDEX events_by_rollout ON events (rollout, seq) WHERE rollout IS NOT NULL;

-- Selections that people gave a name.
CREATE TABLE selections (
    name {text} PRIMARY KEY,
    selection {text} NOT NULL,
    note {text},
    changed_by {text} NOT NULL,
    changed_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);

CREATE TABLE webhooks (
    key {key},
    id {text} NOT NULL UNIQUE,
    url {text} NOT NULL,
    kinds {text} NOT NULL,
    note {text},
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);

-- Written in the transaction of what they tell of, sent afterwards, at least once.
CREATE TABLE deliveries (
    key {key},
    id {text} NOT NULL UNIQUE,
    webhook BIGINT NOT NULL REFERENCES webhooks (key),
    kind {text} NOT NULL,
    at BIGINT NOT NULL,
    body {text} NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT,
    delivered_at BIGINT,
    error {text}
);
CREATE INDEX deliveries_due ON deliveries (next_at, key) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, key);
