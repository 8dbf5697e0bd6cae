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
