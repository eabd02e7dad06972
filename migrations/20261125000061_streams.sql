-- Streams: kinds of a tenant's mail, and how each is treated.

CREATE TABLE streams (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id           uuid NOT NULL,
    name         text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z0-9_-]{1,64}$'),
    title        text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('transactional', 'broadcast')),
    priority     smallint NOT NULL CHECK (priority BETWEEN 0 AND 2),
    track_opens  boolean NOT NULL,
    track_clicks boolean NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX streams_by_name ON streams (tenant_id, name);
COMMENT ON TABLE streams IS 'Kinds of mail that a tenant has described. Mail may name others, unless the tenant is strict (stream_policies).';
COMMENT ON COLUMN streams.title IS 'What recipients are shown, on the page where they unsubscribe.';
COMMENT ON COLUMN streams.kind IS 'broadcast: recipients may leave it; its mail says how (RFC 8058).';
COMMENT ON COLUMN streams.priority IS 'Of mail that asks for none: 0 high, 1 normal, 2 low.';

CREATE TABLE stream_policies (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    unknown   text NOT NULL CHECK (unknown IN ('accept', 'refuse'))
);
COMMENT ON TABLE stream_policies IS 'What becomes of mail of a stream that the tenant has not described. No row: accept.';

INSERT INTO revisions (name, value) VALUES ('streams', 1);
