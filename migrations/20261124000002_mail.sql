-- Mail: the messages, the queue, and what became of each delivery.
--
-- Every table of mail has the lane first in its primary key: the unit by which claims are spread now and
-- by which a distributed Postgres could spread the rows later. Insert-only tables are partitioned by day
-- on the UUIDv7 that carries the message's birth time, so that retention drops whole partitions; there is
-- no DEFAULT partition and there are no foreign keys between mail tables, which would prevent that.
-- Partitions are made a week ahead by the program (store/partitions.rs).

CREATE TYPE delivery_status AS ENUM ('delivered', 'bounced', 'expired', 'suppressed', 'canceled');
COMMENT ON TYPE delivery_status IS 'The terminal states of a delivery. While it has a queue row it is queued or sending.';

CREATE TYPE event_type AS ENUM
    ('accepted', 'deferred', 'delivered', 'bounced', 'expired', 'suppressed', 'canceled',
     'complained', 'opened', 'clicked', 'unsubscribed', 'received');

CREATE FUNCTION message_of(delivery uuid) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(set_byte(set_byte(uuid_send(delivery), 15, 0),
                           14, get_byte(uuid_send(delivery), 14) & 252), 'hex')::uuid
$$;
CREATE FUNCTION last_delivery_of(message uuid) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(set_byte(set_byte(uuid_send(message), 15, 255),
                           14, get_byte(uuid_send(message), 14) | 3), 'hex')::uuid
$$;
COMMENT ON FUNCTION last_delivery_of IS 'Above every delivery of a message: their range is (message, last_delivery_of(message)].';
COMMENT ON FUNCTION message_of IS 'The message of a delivery: its id without the ordinal in the last ten bits.';

CREATE TABLE messages (
    lane           smallint NOT NULL,
    id             uuid NOT NULL,
    tenant_id      uuid NOT NULL,
    key_id         uuid,
    send_at        timestamptz,
    ttl_seconds    integer NOT NULL,
    size_bytes     integer NOT NULL,
    priority       smallint NOT NULL CHECK (priority BETWEEN 0 AND 2),
    sandbox        boolean NOT NULL,
    needs_smtputf8 boolean NOT NULL,
    eight_bit      boolean NOT NULL,
    protected      boolean NOT NULL,
    message_id     text NOT NULL,
    sender         text NOT NULL,
    subject        text NOT NULL,
    stream         text NOT NULL,
    tags           text[] NOT NULL,
    metadata       jsonb NOT NULL,
    addresses      jsonb NOT NULL,
    handling       jsonb,
    PRIMARY KEY (lane, id)
) PARTITION BY RANGE (id);
CREATE INDEX messages_of_tenant ON messages (tenant_id, id);
CREATE INDEX messages_by_tag ON messages USING gin (tags) WHERE tags <> '{}';
COMMENT ON TABLE messages IS 'Accepted submissions. Insert-only: what became of a message is told by its deliveries.';
COMMENT ON COLUMN messages.id IS 'UUIDv7: birth time, lane, and an ordinal of 0 in its last ten bits.';
COMMENT ON COLUMN messages.priority IS '0 high, 1 normal, 2 low.';
COMMENT ON COLUMN messages.ttl_seconds IS 'Counted from send_at, or from acceptance.';
COMMENT ON COLUMN messages.sandbox IS 'Checked and stored, never sent.';
COMMENT ON COLUMN messages.needs_smtputf8 IS 'The headers hold UTF-8 (RFC 6532): the peer must offer SMTPUTF8.';
COMMENT ON COLUMN messages.eight_bit IS 'The content holds octets above 127: the peer must offer 8BITMIME, or it is re-encoded.';
COMMENT ON COLUMN messages.protected IS 'Signed or encrypted: passes byte for byte or not at all.';
COMMENT ON COLUMN messages.message_id IS 'The Message-ID header, with its angle brackets.';
COMMENT ON COLUMN messages.sender IS 'The address of From, without the name.';
COMMENT ON COLUMN messages.handling IS 'What delivery is asked to do beyond carrying it (domain::handling); NULL: nothing.';
COMMENT ON COLUMN messages.addresses IS '{"from", "to", "cc", "bcc", "reply_to"} as the caller gave them.';

CREATE TABLE bodies (
    lane smallint NOT NULL,
    id   uuid NOT NULL,
    raw  bytea COMPRESSION lz4 NOT NULL,
    PRIMARY KEY (lane, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE bodies IS 'The RFC 5322 form of each message, once for all its recipients. Apart from messages, so that listed rows stay small and content can leave earlier.';

CREATE TABLE deliveries (
    lane      smallint NOT NULL,
    id        uuid NOT NULL,
    tenant_id uuid NOT NULL,
    role      smallint NOT NULL CHECK (role BETWEEN 0 AND 2),
    recipient text COLLATE "C" NOT NULL,
    particulars jsonb,
    PRIMARY KEY (lane, id)
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_by_recipient ON deliveries (tenant_id, lower(recipient), id);
COMMENT ON TABLE deliveries IS 'One message to one recipient. Insert-only.';
COMMENT ON COLUMN deliveries.id IS 'The message''s id with the delivery''s ordinal (1 to 1000) in the last ten bits, so that one message''s deliveries are one range of keys.';
COMMENT ON COLUMN deliveries.particulars IS 'What is this recipient''s alone (domain::handling); NULL: nothing.';
COMMENT ON COLUMN deliveries.role IS '0 To, 1 Cc, 2 Bcc.';

CREATE TABLE queue (
    due_at           timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    leased_by        integer,
    claim_no         integer NOT NULL CHECK (claim_no >= 0),
    attempts         integer NOT NULL CHECK (attempts >= 0),
    lane             smallint NOT NULL,
    priority         smallint NOT NULL CHECK (priority BETWEEN 0 AND 2),
    unresolved       smallint NOT NULL CHECK (unresolved >= 0),
    delay_notices    smallint NOT NULL CHECK (delay_notices BETWEEN 0 AND 2),
    cancel_requested boolean NOT NULL,
    delivery_id      uuid NOT NULL,
    tenant_id        uuid NOT NULL,
    domain           text COLLATE "C" NOT NULL,
    PRIMARY KEY (lane, delivery_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_threshold = 2000);
CREATE INDEX queue_due ON queue (lane, tenant_id, priority, due_at);
COMMENT ON TABLE queue IS
    'The deliveries that are not finished, and nothing else: a row is deleted in the transaction that writes its outcome. Narrow and not partitioned, since it stays small.';
COMMENT ON COLUMN queue.due_at IS 'When it may next be claimed. While leased: the end of the lease.';
COMMENT ON COLUMN queue.leased_by IS 'The incarnation (nodes) that has it in hand; NULL: nobody.';
COMMENT ON COLUMN queue.claim_no IS 'The fence: rises at every claim, is never lowered, and every result must name it.';
COMMENT ON COLUMN queue.attempts IS 'SMTP attempts, counted before the dial; drives the retry schedule.';
COMMENT ON COLUMN queue.unresolved IS 'Claims since the last recorded result. Three make the row a poison suspect.';
COMMENT ON COLUMN queue.delay_notices IS 'How many of the two delay thresholds (1 h, 4 h) have been told.';
COMMENT ON COLUMN queue.cancel_requested IS 'Stop at the next moment at which nothing is on the wire.';
COMMENT ON COLUMN queue.domain IS 'The recipient''s domain, for views of the queue by destination.';

CREATE TABLE attempts (
    lane        smallint NOT NULL,
    delivery_id uuid NOT NULL,
    claim_no    integer NOT NULL,
    attempt     integer NOT NULL,
    incarnation integer NOT NULL,
    duration_ms integer NOT NULL,
    code        smallint,
    started_at  timestamptz NOT NULL,
    step        text NOT NULL,
    result      text NOT NULL,
    class       text,
    host        text,
    ip          inet,
    tls         text,
    enhanced    text,
    reply       text NOT NULL,
    PRIMARY KEY (lane, delivery_id, claim_no)
) PARTITION BY RANGE (delivery_id);
COMMENT ON TABLE attempts IS 'SMTP transactions, one row each. Append-only; refused stale results are kept too (result = stale).';
COMMENT ON COLUMN attempts.step IS 'How far it came: route, connect, greeting, ehlo, starttls, auth, mail, rcpt, data, body.';
COMMENT ON COLUMN attempts.result IS 'delivered, deferred, bounced, expired, canceled or stale.';
COMMENT ON COLUMN attempts.tls IS 'Version, cipher and how the certificate was verified; NULL: in clear.';
COMMENT ON COLUMN attempts.reply IS 'What the peer said, or what went wrong, in one line; control characters escaped.';

CREATE TABLE outcomes (
    lane        smallint NOT NULL,
    ordinal     smallint NOT NULL CHECK (ordinal IN (0, 1)),
    delivery_id uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    status      delivery_status NOT NULL,
    hard        boolean NOT NULL,
    at          timestamptz NOT NULL,
    class       text,
    PRIMARY KEY (lane, delivery_id, ordinal),
    CHECK (ordinal = 0 OR status = 'bounced')
) PARTITION BY RANGE (delivery_id);
CREATE INDEX outcomes_by_status ON outcomes (tenant_id, status, delivery_id);
COMMENT ON TABLE outcomes IS 'How deliveries ended. Insert-only: one row each (ordinal 0), and at most one late bounce after a delivered (ordinal 1).';

CREATE TABLE events (
    txid        bigint NOT NULL,
    lane        smallint NOT NULL,
    type        event_type NOT NULL,
    delivery_id uuid NOT NULL,
    id          uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    data        jsonb,
    PRIMARY KEY (lane, delivery_id, id)
) PARTITION BY RANGE (delivery_id);
CREATE INDEX events_of_tenant ON events (tenant_id, id);
CREATE INDEX events_by_commit ON events (txid);
COMMENT ON TABLE events IS 'Facts for tenants, appended in the transaction that makes them true.';
COMMENT ON COLUMN events.id IS 'UUIDv7 of the moment, to the microsecond, with the delivery''s lane.';
COMMENT ON COLUMN events.txid IS
    'The writing transaction. Ids are not in commit order: a follower reads below the oldest running transaction, by this column.';

CREATE TABLE idempotency (
    lane        smallint NOT NULL,
    tenant_id   uuid NOT NULL,
    key         text COLLATE "C" NOT NULL,
    first_id    uuid NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    created_at  timestamptz NOT NULL,
    answer      jsonb NOT NULL,
    PRIMARY KEY (lane, tenant_id, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
COMMENT ON TABLE idempotency IS 'Answers to requests with an Idempotency-Key, kept 24 h. The row commits with the messages it answers for.';
COMMENT ON COLUMN idempotency.lane IS 'From a hash of tenant and key, so that equal keys meet in one lane.';
COMMENT ON COLUMN idempotency.first_id IS 'The request''s first message: tells the winner among equal keys in one statement.';
COMMENT ON COLUMN idempotency.fingerprint IS 'SHA-256 over the canonical submission: the same key with another body is refused.';
COMMENT ON COLUMN idempotency.answer IS 'The outcome of accept, from which each door renders its own answer again.';

CREATE TABLE suppressions (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id          uuid NOT NULL,
    address     text COLLATE "C" NOT NULL,
    stream      text COLLATE "C" NOT NULL DEFAULT '',
    reason      text NOT NULL CHECK (reason IN ('bounce', 'complaint', 'unsubscribe', 'manual')),
    delivery_id uuid,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX suppressions_of_address ON suppressions (tenant_id, address, stream);
COMMENT ON TABLE suppressions IS 'Addresses not to mail. Checked at accept and again at every claim.';
COMMENT ON COLUMN suppressions.address IS 'In its canonical, lower-case form.';
COMMENT ON COLUMN suppressions.stream IS 'Empty: every stream.';
COMMENT ON COLUMN suppressions.delivery_id IS 'The delivery whose bounce or complaint caused it.';

CREATE TABLE captured (
    id          uuid PRIMARY KEY,
    tenant_id   uuid,
    delivery_id uuid,
    tls         boolean NOT NULL,
    return_path text NOT NULL,
    recipients  text[] NOT NULL,
    raw         bytea COMPRESSION lz4 NOT NULL
);
CREATE INDEX captured_of_tenant ON captured (tenant_id, id);
COMMENT ON TABLE captured IS 'Mail that the capture route received, byte for byte as it came over SMTP. Only the newest are kept.';
COMMENT ON COLUMN captured.tenant_id IS 'From the token in the return path; NULL when it carries none of ours.';
