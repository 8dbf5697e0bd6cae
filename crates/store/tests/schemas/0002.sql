PRAGMA application_id = 1752065135;
CREATE TABLE schema_versions (
    number BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    program TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
INSERT INTO schema_versions VALUES (1, 'start', '0.1.0', 1700000000000000);
INSERT INTO schema_versions VALUES (2, 'fleets', '0.1.0', 1700000000000000);
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO meta VALUES ('oldest_program', '0.1.0');
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    generation BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
INSERT INTO settings VALUES ('limit', '5', 1, 1700000000000000);
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    until BIGINT NOT NULL
);
INSERT INTO leases VALUES ('sequencer', 'a', 1, 1701000000000000);
CREATE TABLE documents (
    kind TEXT NOT NULL,
    number BIGINT NOT NULL,
    document TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (kind, number)
);
INSERT INTO documents VALUES ('order_keys', 1, '{"signed":{}}', 1700000000000000);
CREATE TABLE agents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    note TEXT,
    public_key TEXT NOT NULL,
    key_digest TEXT NOT NULL,
    secret TEXT NOT NULL,
    secret_before TEXT,
    machine TEXT NOT NULL,
    session TEXT,
    session_before TEXT,
    platform TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    labels TEXT NOT NULL,
    facts TEXT NOT NULL,
    boot TEXT,
    components TEXT NOT NULL,
    ephemeral_ms BIGINT,
    token TEXT,
    sequence BIGINT NOT NULL,
    acknowledged BIGINT NOT NULL,
    state_digest TEXT,
    state_number BIGINT,
    reported_at BIGINT,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    retired_at BIGINT
);
INSERT INTO agents VALUES (1, 'agent_018bcfe568007d0a912b8ee8928edf24', 'web-1', 'present', NULL, '{"keytype":"ed25519","number":1}', 'cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50', '5485cb5d03981cc3bd989290a6be33ca392c013279a5c3c3fd10a1cae57e1460', NULL, 'bc020a35b7f9cb1382e7b534c68e3c531d849b119bf14f75ddead6cc45c3ccc1', 'session_018bcfe568007d0a912b8ee8928edf24', NULL, 'linux-x86_64', '1.2.3', '{"site":"ä ''quoted''"}', '{"os":"debian"}', 'boot', '[{"component":"app","current":"1.0.0","proved":true}]', NULL, NULL, 0, 0, '4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e', 1, 1700000002000000, 1, 1700000000000000, 1700000000000000, NULL);
INSERT INTO agents VALUES (2, 'agent_018bcfe568007902a9a86640bfdb1cd0', 'web-2', 'present', NULL, '{"keytype":"ed25519","number":2}', 'cd04a4754498e06db5a13c5f371f1f04ff6d2470f24aa9bd886540e5dce77f70', 'ded6c02a4bc1fb712f3b71efcb883ad5b31f4cef6a327b079573143ec9c71fb3', NULL, 'bc020a35b7f9cb1382e7b534c68e3c531d849b119bf14f75ddead6cc45c3ccc1', 'session_018bcfe568007902a9a86640bfdb1cd0', NULL, 'linux-x86_64', '1.0.0', '{}', '{}', NULL, '[]', NULL, NULL, 0, 0, NULL, NULL, NULL, 1, 1700000000000000, 1700000000000000, NULL);
CREATE TABLE presence (
    agent INTEGER PRIMARY KEY REFERENCES agents (key),
    last_seen BIGINT NOT NULL
);
INSERT INTO presence VALUES (1, 1700000000000000);
INSERT INTO presence VALUES (2, 1700000000000000);
CREATE TABLE agent_labels (
    agent BIGINT NOT NULL REFERENCES agents (key),
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (agent, label)
);
INSERT INTO agent_labels VALUES (1, 'site', 'ä ''quoted''', 'web-1');
CREATE TABLE agent_components (
    agent BIGINT NOT NULL REFERENCES agents (key),
    component TEXT NOT NULL,
    version TEXT,
    is_proved BIGINT NOT NULL,
    trial TEXT,
    name TEXT NOT NULL,
    PRIMARY KEY (agent, component)
);
INSERT INTO agent_components VALUES (1, 'app', '1.0.0', 1, NULL, 'web-1');
CREATE TABLE agent_quarantine (
    agent BIGINT NOT NULL REFERENCES agents (key),
    component TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (agent, component, version)
);
INSERT INTO agent_quarantine VALUES (1, 'app', '1.0.0');
CREATE TABLE reports (
    agent BIGINT NOT NULL REFERENCES agents (key),
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    order_id TEXT,
    is_final BIGINT NOT NULL,
    document TEXT NOT NULL,
    at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (agent, number)
);
INSERT INTO reports VALUES (1, 1, 'state', NULL, 0, '{"signed":{}}', 1700000002000000, 1700000002000000);
CREATE TABLE orders (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent BIGINT NOT NULL REFERENCES agents (key),
    state TEXT NOT NULL,
    action TEXT NOT NULL,
    component TEXT,
    expect TEXT,
    reason TEXT,
    epoch BIGINT,
    sequence BIGINT,
    document TEXT,
    cancel TEXT,
    code TEXT,
    outcome TEXT,
    release TEXT,
    progress TEXT,
    superseded_by TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    handed_out_at BIGINT,
    changed_at BIGINT NOT NULL,
    ended_at BIGINT,
    generation BIGINT NOT NULL, rollout BIGINT REFERENCES rollouts (key), position BIGINT, attempt BIGINT, accepted_at BIGINT, activate_at BIGINT,
    UNIQUE (agent, epoch, sequence)
);
INSERT INTO orders VALUES (1, 'order_018bcfe568007d0a912b8ee8928edf24', 1, 'pending', '{"do":"retire"}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'ann', 1700000003000000, 1700001000000000, NULL, 1700000003000000, NULL, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO orders VALUES (2, 'order_018bcfe568007902a9a86640bfdb1cd0', 1, 'done', '{"do":"retire"}', NULL, NULL, 'done', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'ann', 1700000003000000, 1700001000000000, NULL, 1700000004000000, 1700000004000000, 2, 1, 0, 1, 1700000004000000, NULL);
CREATE TABLE order_steps (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL,
    at BIGINT NOT NULL,
    state TEXT NOT NULL,
    code TEXT,
    words TEXT
);
INSERT INTO order_steps VALUES (1, 'order_018bcfe568007d0a912b8ee8928edf24', 1700000003000000, 'pending', NULL, NULL);
INSERT INTO order_steps VALUES (2, 'order_018bcfe568007902a9a86640bfdb1cd0', 1700000003000000, 'pending', NULL, NULL);
INSERT INTO order_steps VALUES (3, 'order_018bcfe568007902a9a86640bfdb1cd0', 1700000004000000, 'done', NULL, NULL);
CREATE TABLE tokens (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL UNIQUE,
    name TEXT,
    note TEXT,
    labels TEXT NOT NULL,
    ephemeral_ms BIGINT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_by TEXT,
    agent TEXT,
    used_at BIGINT,
    revoked_at BIGINT,
    generation BIGINT NOT NULL
);
INSERT INTO tokens VALUES (1, 'token_018bcfe568007d0a912b8ee8928edf24', 'cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50', NULL, NULL, '{}', NULL, 'ann', 1700000000000000, 1701000000000000, '2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683', 'agent_018bcfe568007d0a912b8ee8928edf24', 1700000001000000, NULL, 2);
INSERT INTO tokens VALUES (2, 'token_018bcfe568007902a9a86640bfdb1cd0', 'cd04a4754498e06db5a13c5f371f1f04ff6d2470f24aa9bd886540e5dce77f70', NULL, NULL, '{}', NULL, 'ann', 1700000000000000, 1701000000000000, NULL, NULL, NULL, NULL, 1);
CREATE TABLE api_tokens (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    generation BIGINT NOT NULL
);
INSERT INTO api_tokens VALUES (1, 'token_018bcfe568007a17b205df5c29929d06', '14c2529eb4498c5d1ffd6915d05bf58a91bdda796af59f41d480d11c099d0479', 'ann', '["admin"]', 'server', 1700000000000000, NULL, NULL, 1);
CREATE TABLE pins (
    agent BIGINT NOT NULL REFERENCES agents (key),
    component TEXT NOT NULL,
    pin TEXT,
    reason TEXT,
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    order_id TEXT,
    in_force BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (agent, component)
);
INSERT INTO pins VALUES (1, 'app', '">=1, <2"', NULL, 'ann', 1700000001000000, NULL, 1, 1);
CREATE TABLE events (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    seq BIGINT UNIQUE,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    agent TEXT,
    order_id TEXT,
    data TEXT NOT NULL
, rollout TEXT);
INSERT INTO events VALUES (1, 1, 1700000000000000, 'test', 'agent_018bcfe568007d0a912b8ee8928edf24', NULL, '{"number":0}', NULL);
INSERT INTO events VALUES (2, 2, 1700000000000000, 'test', 'agent_018bcfe568007d0a912b8ee8928edf24', NULL, '{"number":1}', NULL);
INSERT INTO events VALUES (3, 3, 1700000000000000, 'test', 'agent_018bcfe568007d0a912b8ee8928edf24', NULL, '{"number":2}', NULL);
CREATE TABLE audit (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    seq BIGINT UNIQUE,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT,
    prev TEXT,
    hash TEXT
);
INSERT INTO audit VALUES (1, 1, 1700000000000000, 'ann', 'test', 'agent_018bcfe568007d0a912b8ee8928edf24', NULL, '{"number":0}', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', '2759f6ef3902b6b4b12833fa562ee2e1fde268ee8e91692c6092d18ef26e84de');
INSERT INTO audit VALUES (2, 2, 1700000000000000, 'ann', 'test', 'agent_018bcfe568007d0a912b8ee8928edf24', NULL, '{"number":1}', '2759f6ef3902b6b4b12833fa562ee2e1fde268ee8e91692c6092d18ef26e84de', '1b488352634e5ac0cb5db6d0e93172af905bedc3e1e62ff73765617e19972c86');
INSERT INTO audit VALUES (3, 3, 1700000000000000, 'ann', 'test', 'agent_018bcfe568007d0a912b8ee8928edf24', NULL, '{"number":2}', '1b488352634e5ac0cb5db6d0e93172af905bedc3e1e62ff73765617e19972c86', '8d5b1d3ecff49155f95cabc1e02b2000cf759669500b696c1be8a2589499514a');
CREATE TABLE idempotency (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
INSERT INTO idempotency VALUES ('ann', 'key', '454349e422f05297191ead13e21d3db520e5abef52055e4964b82fb213f593a1', 200, '{}', 1700000009000000);
CREATE TABLE rollouts (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    component TEXT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    priority BIGINT NOT NULL,
    -- How many members, in the roster's order, may get their order.
    released BIGINT NOT NULL,
    members BIGINT NOT NULL,
    -- The plan: seed, waves, strata, baseline. Drawn when the rollout starts, never changed but
    -- for late joiners.
    plan TEXT,
    -- The controller's own record: wave, step, approvals, halt, alerts, members left out.
    progress TEXT NOT NULL,
    -- What its members say, counted: a copy for lists; orders are the source.
    counts TEXT NOT NULL,
    of_rollout TEXT,
    of_wave BIGINT,
    reverted_by TEXT,
    superseded_by TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    start_at BIGINT,
    started_at BIGINT,
    changed_at BIGINT NOT NULL,
    ended_at BIGINT,
    watch_until BIGINT,
    generation BIGINT NOT NULL
);
INSERT INTO rollouts VALUES (1, 'rollout_018bcfe5687b7fffbfffffffffffffff', 'app-2', '{}', 'app', '{}', 'done', 50, 1, 1, NULL, '{}', '{}', NULL, NULL, NULL, NULL, 'ann', 1, NULL, NULL, 1, NULL, NULL, 1);
CREATE TABLE rollout_members (
    rollout BIGINT NOT NULL REFERENCES rollouts (key),
    chunk BIGINT NOT NULL,
    members TEXT NOT NULL,
    PRIMARY KEY (rollout, chunk)
);
INSERT INTO rollout_members VALUES (1, 0, '[]');
CREATE TABLE rollout_decays (
    rollout BIGINT NOT NULL REFERENCES rollouts (key),
    position BIGINT NOT NULL,
    agent BIGINT NOT NULL REFERENCES agents (key),
    at BIGINT NOT NULL,
    code TEXT NOT NULL,
    words TEXT,
    PRIMARY KEY (rollout, position)
);
INSERT INTO rollout_decays VALUES (1, 0, 1, 1, 'returned', NULL);
CREATE TABLE rollout_checks (
    rollout BIGINT NOT NULL REFERENCES rollouts (key),
    name TEXT NOT NULL,
    verdict TEXT,
    reason TEXT,
    answered_at BIGINT,
    asked_at BIGINT,
    generation BIGINT NOT NULL,
    PRIMARY KEY (rollout, name)
);
INSERT INTO rollout_checks VALUES (1, 'probe', NULL, NULL, NULL, NULL, 1);
CREATE TABLE selections (
    name TEXT PRIMARY KEY,
    selection TEXT NOT NULL,
    note TEXT,
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
INSERT INTO selections VALUES ('canaries', 'label.site = a', NULL, 'ann', 1, 1);
CREATE TABLE webhooks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL,
    kinds TEXT NOT NULL,
    note TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT
);
INSERT INTO webhooks VALUES (1, 'webhook_1', 'https://hooks.example.com', '[]', NULL, 'ann', 1, NULL);
CREATE TABLE deliveries (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    webhook BIGINT NOT NULL REFERENCES webhooks (key),
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT,
    delivered_at BIGINT,
    error TEXT
);
INSERT INTO deliveries VALUES (1, 'delivery_1', 1, 'rollout.done', 1, '{}', 1, NULL, 2, NULL);
CREATE UNIQUE INDEX agents_living_name ON agents (name) WHERE retired_at IS NULL;
CREATE INDEX agents_living ON agents (name, key) WHERE retired_at IS NULL;
CREATE INDEX agents_by_name ON agents (name, key);
CREATE INDEX agents_by_state ON agents (state, name, key);
CREATE INDEX agents_by_public_key ON agents (key_digest);
CREATE INDEX agent_labels_by_value ON agent_labels (label, value, name, agent);
CREATE INDEX agent_components_by_version
    ON agent_components (component, version, name, agent, is_proved, trial);
CREATE INDEX agent_quarantine_by_version ON agent_quarantine (component, version);
CREATE INDEX reports_by_order ON reports (order_id, number) WHERE order_id IS NOT NULL;
CREATE INDEX orders_by_agent ON orders (agent, key);
CREATE INDEX orders_by_state ON orders (state, key);
CREATE INDEX orders_by_component ON orders (component, key);
CREATE INDEX orders_open ON orders (agent, key) WHERE ended_at IS NULL;
CREATE INDEX orders_open_by_key ON orders (key) WHERE ended_at IS NULL;
CREATE INDEX orders_by_expiry ON orders (state, expires_at, key);
CREATE INDEX order_steps_by_order ON order_steps (order_id, key);
CREATE INDEX events_unnumbered ON events (key) WHERE seq IS NULL;
CREATE INDEX events_by_agent ON events (agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX events_by_order ON events (order_id, seq) WHERE order_id IS NOT NULL;
CREATE INDEX audit_unnumbered ON audit (key) WHERE seq IS NULL;
CREATE INDEX audit_by_subject ON audit (subject, seq);
CREATE INDEX idempotency_expiring ON idempotency (expires_at);
CREATE UNIQUE INDEX rollouts_open_name ON rollouts (name) WHERE ended_at IS NULL;
CREATE INDEX rollouts_by_name ON rollouts (name, key);
CREATE INDEX rollouts_by_state ON rollouts (state, key);
CREATE INDEX rollouts_by_component ON rollouts (component, key);
CREATE INDEX rollouts_live ON rollouts (key)
    WHERE ended_at IS NULL OR watch_until IS NOT NULL OR state = 'reverting';
CREATE INDEX orders_by_rollout ON orders (rollout, position, key) WHERE rollout IS NOT NULL;
CREATE INDEX orders_open_by_rollout ON orders (rollout, key)
    WHERE rollout IS NOT NULL AND ended_at IS NULL;
CREATE INDEX orders_ended ON orders (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX events_by_rollout ON events (rollout, seq) WHERE rollout IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (next_at, key) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, key);
