-- Webhooks: where tenants have events posted, what is still to be posted, and what was.

CREATE TABLE webhooks (
    tenant_id        uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id               uuid NOT NULL,
    url              text NOT NULL,
    description      text NOT NULL,
    format           text NOT NULL CHECK (format IN ('postroad')),
    types            text[],
    streams          text[],
    tags             text[],
    batch_size       integer NOT NULL CHECK (batch_size BETWEEN 1 AND 500),
    secret_sealed    bytea NOT NULL,
    previous_sealed  bytea,
    previous_until   timestamptz,
    from_snapshot    txid_snapshot NOT NULL,
    created_at       timestamptz NOT NULL,
    disabled_at      timestamptz,
    disabled_because text CHECK (disabled_because IN ('manual', 'gone', 'failing')),
    failing_since    timestamptz,
    PRIMARY KEY (tenant_id, id),
    CHECK ((previous_sealed IS NULL) = (previous_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_because IS NULL))
);
CREATE UNIQUE INDEX webhooks_by_id ON webhooks (id);
COMMENT ON TABLE webhooks IS 'Endpoints that a tenant''s events are posted to.';
COMMENT ON COLUMN webhooks.types IS 'Only events of these types, and these notices; NULL: all.';
COMMENT ON COLUMN webhooks.streams IS 'Only events of mail of these streams; NULL: all.';
COMMENT ON COLUMN webhooks.tags IS 'Only events of mail with one of these tags; NULL: all.';
COMMENT ON COLUMN webhooks.batch_size IS 'The most events in one request; 1: each alone, not in a list.';
COMMENT ON COLUMN webhooks.secret_sealed IS 'What signs, sealed with the master key.';
COMMENT ON COLUMN webhooks.previous_sealed IS 'What signs too until previous_until: the secret before the last rotation.';
COMMENT ON COLUMN webhooks.from_snapshot IS 'What could be seen when the endpoint was enabled: that is not posted.';
COMMENT ON COLUMN webhooks.disabled_because IS 'manual: by its owner. gone: it answered 410. failing: it failed for five days.';
COMMENT ON COLUMN webhooks.failing_since IS 'The first failure after the last success; NULL: the last call succeeded, or there was none.';

CREATE TABLE followers (
    name     text PRIMARY KEY,
    txid     bigint NOT NULL,
    event_id uuid NOT NULL
);
INSERT INTO followers (name, txid, event_id) VALUES ('webhooks', 0, '00000000-0000-0000-0000-000000000000');
COMMENT ON TABLE followers IS 'How far the events have been read, by whom. Its row is locked while he reads on, so that there is one of him.';
COMMENT ON COLUMN followers.event_id IS 'Of transaction txid, everything up to this event has been read.';

CREATE TABLE webhook_calls (
    seq         bigint GENERATED ALWAYS AS IDENTITY,
    webhook_id  uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    group_id    uuid NOT NULL,
    delivery_id uuid NOT NULL,
    event_id    uuid NOT NULL,
    notice      text,
    batch       bigint,
    attempts    integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    claim_no    integer NOT NULL DEFAULT 0 CHECK (claim_no >= 0),
    due_at      timestamptz NOT NULL,
    PRIMARY KEY (webhook_id, group_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_threshold = 2000);
CREATE INDEX webhook_calls_due ON webhook_calls (webhook_id, due_at, seq);
CREATE INDEX webhook_calls_of_batch ON webhook_calls (webhook_id, batch) WHERE batch IS NOT NULL;
COMMENT ON TABLE webhook_calls IS
    'What is still to be posted, an event to an endpoint. Narrow: the event is read when it is posted. A row leaves with the last attempt.';
COMMENT ON COLUMN webhook_calls.seq IS 'The order of commits, in which the events of a group are posted.';
COMMENT ON COLUMN webhook_calls.group_id IS 'The message: of one group, the next is posted when the one before has left. For notices an id of its own.';
COMMENT ON COLUMN webhook_calls.notice IS 'The whole body, when it is not an event of mail: tests and notices of the account.';
COMMENT ON COLUMN webhook_calls.batch IS 'The first seq of the batch in which it was tried: a batch is tried again as it was.';
COMMENT ON COLUMN webhook_calls.claim_no IS 'The fence: rises at every claim, and every result must name it.';
COMMENT ON COLUMN webhook_calls.due_at IS 'When it may next be claimed. While leased: the end of the lease.';

CREATE TABLE posts (
    id           uuid NOT NULL,
    tenant_id    uuid NOT NULL,
    webhook_id   uuid NOT NULL,
    attempt      integer NOT NULL,
    duration_ms  integer NOT NULL,
    status       smallint,
    result       text NOT NULL CHECK (result IN ('delivered', 'deferred', 'failed')),
    error        text,
    next_at      timestamptz,
    reference    text NOT NULL,
    event_ids    uuid[] NOT NULL,
    delivery_ids uuid[] NOT NULL,
    request      text NOT NULL,
    response     text NOT NULL,
    PRIMARY KEY (tenant_id, webhook_id, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE posts IS 'What was posted to webhooks, one row for each request. Insert-only.';
COMMENT ON COLUMN posts.result IS 'deferred: it is tried again at next_at. failed: it is not.';
COMMENT ON COLUMN posts.status IS 'Of the answer; NULL: there was none, and error says why.';
COMMENT ON COLUMN posts.reference IS 'The header webhook-id: the same at every try.';
COMMENT ON COLUMN posts.request IS 'The beginning of the body.';
COMMENT ON COLUMN posts.response IS 'The beginning of the answer''s body.';

INSERT INTO revisions (name, value) VALUES ('webhooks', 1);
