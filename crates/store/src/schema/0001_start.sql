-- One text for both databases; words in braces are what differs (see schema.rs). Times are
-- microseconds since 1970, truths are 0 and 1, documents are JSON text, digests are hexadecimal.

CREATE TABLE schema_versions (
    number BIGINT PRIMARY KEY,
    name {text} NOT NULL,
    program {text} NOT NULL,
    applied_at BIGINT NOT NULL
);

CREATE TABLE meta (
    key {text} PRIMARY KEY,
    value {text} NOT NULL
);

CREATE TABLE settings (
    key {text} PRIMARY KEY,
    value {text} NOT NULL,
    generation BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE leases (
    name {text} PRIMARY KEY,
    holder {text} NOT NULL,
    fence BIGINT NOT NULL,
    until BIGINT NOT NULL
);

-- Order keys and channel authorities: numbered documents, each signed by its predecessor's key.
CREATE TABLE documents (
    kind {text} NOT NULL,
    number BIGINT NOT NULL,
    document {text} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (kind, number)
);

CREATE TABLE agents (
    key {key},
    id {text} NOT NULL UNIQUE,
    name {text} NOT NULL,
    state {text} NOT NULL,
    note {text},
    public_key {text} NOT NULL,
    key_digest {text} NOT NULL,
    secret {text} NOT NULL,
    secret_before {text},
    machine {text} NOT NULL,
    session {text},
    session_before {text},
    platform {text} NOT NULL,
    agent_version {text} NOT NULL,
    labels {text} NOT NULL,
    facts {text} NOT NULL,
    boot {text},
    components {text} NOT NULL,
    ephemeral_ms BIGINT,
    token {text},
    sequence BIGINT NOT NULL,
    acknowledged BIGINT NOT NULL,
    state_digest {text},
    state_number BIGINT,
    reported_at BIGINT,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    retired_at BIGINT
);
CREATE UNIQUE INDEX agents_living_name ON agents (name) WHERE retired_at IS NULL;
CREATE INDEX agents_living ON agents (name, key) WHERE retired_at IS NULL;
CREATE INDEX agents_by_name ON agents (name, key);
CREATE INDEX agents_by_state ON agents (state, name, key);
CREATE INDEX agents_by_public_key ON agents (key_digest);

-- What every check-in changes, kept apart from what is wide. No index: a change stays in its page.
CREATE TABLE presence (
    agent {row} REFERENCES agents (key),
    last_seen BIGINT NOT NULL
) {touched};

-- What lists are filtered by. The agent's name stands here again, so that a filtered list is one
-- walk through an index.
CREATE TABLE agent_labels (
    agent BIGINT NOT NULL REFERENCES agents (key),
    label {text} NOT NULL,
    value {text} NOT NULL,
    name {text} NOT NULL,
    PRIMARY KEY (agent, label)
);
CREATE INDEX agent_labels_by_value ON agent_labels (label, value, name, agent);

CREATE TABLE agent_components (
    agent BIGINT NOT NULL REFERENCES agents (key),
    component {text} NOT NULL,
    version {text},
    is_proved BIGINT NOT NULL,
    trial {text},
    name {text} NOT NULL,
    PRIMARY KEY (agent, component)
);
CREATE INDEX agent_components_by_version
    ON agent_components (component, version, name, agent, is_proved, trial);

CREATE TABLE agent_quarantine (
    agent BIGINT NOT NULL REFERENCES agents (key),
    component {text} NOT NULL,
    version {text} NOT NULL,
    PRIMARY KEY (agent, component, version)
);
CREATE INDEX agent_quarantine_by_version ON agent_quarantine (component, version);

-- What agents signed: each agent's newest state, and the last word on each order.
CREATE TABLE reports (
    agent BIGINT NOT NULL REFERENCES agents (key),
    number BIGINT NOT NULL,
    kind {text} NOT NULL,
    order_id {text},
    is_final BIGINT NOT NULL,
    document {text} NOT NULL,
    at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (agent, number)
);
CREATE INDEX reports_by_order ON reports (order_id, number) WHERE order_id IS NOT NULL;

CREATE TABLE orders (
    key {key},
    id {text} NOT NULL UNIQUE,
    agent BIGINT NOT NULL REFERENCES agents (key),
    state {text} NOT NULL,
    action {text} NOT NULL,
    component {text},
    expect {text},
    reason {text},
    epoch BIGINT,
    sequence BIGINT,
    document {text},
    cancel {text},
    code {text},
    outcome {text},
    release {text},
    progress {text},
    superseded_by {text},
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    handed_out_at BIGINT,
    changed_at BIGINT NOT NULL,
    ended_at BIGINT,
    generation BIGINT NOT NULL,
    UNIQUE (agent, epoch, sequence)
);
CREATE INDEX orders_by_agent ON orders (agent, key);
CREATE INDEX orders_by_state ON orders (state, key);
CREATE INDEX orders_by_component ON orders (component, key);
CREATE INDEX orders_open ON orders (agent, key) WHERE ended_at IS NULL;
CREATE INDEX orders_open_by_key ON orders (key) WHERE ended_at IS NULL;
CREATE INDEX orders_by_expiry ON orders (state, expires_at, key);

CREATE TABLE order_steps (
    key {key},
    order_id {text} NOT NULL,
    at BIGINT NOT NULL,
    state {text} NOT NULL,
    code {text},
    words {text}
);
CREATE INDEX order_steps_by_order ON order_steps (order_id, key);

CREATE TABLE tokens (
    key {key},
    id {text} NOT NULL UNIQUE,
    secret {text} NOT NULL UNIQUE,
    name {text},
    note {text},
    labels {text} NOT NULL,
    ephemeral_ms BIGINT,
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_by {text},
    agent {text},
    used_at BIGINT,
    revoked_at BIGINT,
    generation BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    key {key},
    id {text} NOT NULL UNIQUE,
    secret {text} NOT NULL UNIQUE,
    name {text} NOT NULL,
    permissions {text} NOT NULL,
    created_by {text} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    generation BIGINT NOT NULL
);

CREATE TABLE pins (
    agent BIGINT NOT NULL REFERENCES agents (key),
    component {text} NOT NULL,
    pin {text},
    reason {text},
    changed_by {text} NOT NULL,
    changed_at BIGINT NOT NULL,
    order_id {text},
    in_force BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (agent, component)
);

-- Written without a number in the transaction of the change; the sequencer numbers them, since
-- keys commit out of order.
CREATE TABLE events (
    key {key},
    seq BIGINT UNIQUE,
    at BIGINT NOT NULL,
    kind {text} NOT NULL,
    agent {text},
    order_id {text},
    data {text} NOT NULL
);
CREATE INDEX events_unnumbered ON events (key) WHERE seq IS NULL;
CREATE INDEX events_by_agent ON events (agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX events_by_order ON events (order_id, seq) WHERE order_id IS NOT NULL;

CREATE TABLE audit (
    key {key},
    seq BIGINT UNIQUE,
    at BIGINT NOT NULL,
    who {text} NOT NULL,
    what {text} NOT NULL,
    subject {text} NOT NULL,
    before {text},
    after {text},
    prev {text},
    hash {text}
);
CREATE INDEX audit_unnumbered ON audit (key) WHERE seq IS NULL;
CREATE INDEX audit_by_subject ON audit (subject, seq);

CREATE TABLE idempotency (
    owner {text} NOT NULL,
    key {text} NOT NULL,
    request {text} NOT NULL,
    status BIGINT NOT NULL,
    answer {text} NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_expiring ON idempotency (expires_at);
