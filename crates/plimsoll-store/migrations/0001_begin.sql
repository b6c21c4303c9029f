-- The first schema. The same text runs on SQLite and PostgreSQL: only BIGINT, TEXT and BYTEA.
-- Ids are stored as their text form, times as milliseconds since the epoch.

-- What is said once about the whole store: its id, the number of partitions, who made it.
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The log. A row is what one commit gathered for one partition. The primary key is the fence: who
-- appends at a position that exists has lost the partition.
CREATE TABLE log (
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stamped_at BIGINT NOT NULL,
    core_version BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    codec BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (partition, position)
);

-- Slices of a partition's state, each good for the position that it carries.
CREATE TABLE checkpoint (
    partition BIGINT NOT NULL,
    slice BIGINT NOT NULL,
    position BIGINT NOT NULL,
    core_version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (partition, slice)
);

-- One row. Incrementing it serialises changes of the control plane and makes `control` gapless.
CREATE TABLE control_head (
    id BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO control_head (id, seq) VALUES (1, 0);

CREATE TABLE control (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    command BYTEA NOT NULL
);

-- Sealed segments of the hashes of event identities.
CREATE TABLE dedupe (
    partition BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    sealed_at BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (partition, segment)
);

-- Resources of every kind, as the documents that the API shows.
CREATE TABLE resource (
    id TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT,
    parent TEXT,
    version BIGINT NOT NULL,
    doc TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
-- `key` stands before `parent` so that whoever names a key is found, too.
CREATE UNIQUE INDEX resource_key ON resource (environment, kind, key, coalesce(parent, ''))
    WHERE deleted_at IS NULL AND key IS NOT NULL;
-- What is deleted is found when memory is filled.
CREATE INDEX resource_deleted ON resource (kind, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX resource_list ON resource (environment, kind, id);
CREATE INDEX resource_parent ON resource (parent, kind, id);
-- Environments are found without naming one.
CREATE INDEX resource_environment ON resource (id) WHERE kind = 'environment';

CREATE TABLE subject (
    environment TEXT NOT NULL,
    subject TEXT NOT NULL,
    customer TEXT NOT NULL,
    PRIMARY KEY (environment, subject)
);
CREATE INDEX subject_customer ON subject (customer);

-- Immutable. `identity` is the hash of what happened: at most one notification an identity.
CREATE TABLE notification (
    id TEXT NOT NULL PRIMARY KEY,
    identity BYTEA NOT NULL UNIQUE,
    environment TEXT NOT NULL,
    type TEXT NOT NULL,
    edge TEXT NOT NULL,
    customer TEXT,
    feature TEXT,
    rule TEXT,
    reason TEXT,
    created_at BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    doc BYTEA NOT NULL,
    rule_snapshot BYTEA
);
CREATE INDEX notification_list ON notification (environment, id);
CREATE INDEX notification_customer ON notification (customer, id);
CREATE INDEX notification_rule ON notification (rule, id);

-- `next_attempt_at` is set exactly while the delivery is open (PENDING or SENDING).
CREATE TABLE delivery (
    id TEXT NOT NULL PRIMARY KEY,
    notification TEXT NOT NULL,
    environment TEXT NOT NULL,
    channel TEXT NOT NULL,
    customer TEXT,
    n BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt_at BIGINT,
    ordinal BIGINT NOT NULL,
    format TEXT NOT NULL,
    error TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX delivery_due ON delivery (channel, next_attempt_at, ordinal, id)
    WHERE next_attempt_at IS NOT NULL;
CREATE UNIQUE INDEX delivery_notification ON delivery (notification, channel, n);

CREATE TABLE attempt (
    delivery TEXT NOT NULL,
    n BIGINT NOT NULL,
    at BIGINT NOT NULL,
    status BIGINT,
    duration_ms BIGINT NOT NULL,
    error TEXT,
    response_body BYTEA,
    PRIMARY KEY (delivery, n)
);

-- Answers kept for `Idempotency-Key`; `response` is sealed.
CREATE TABLE idempotency (
    environment TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    status BIGINT NOT NULL,
    response BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (environment, route, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_kind TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_list ON audit (environment, id);
