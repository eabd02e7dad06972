-- Statistics: counters by hour and by day, rolled up from the events (worker/rollup.rs).

CREATE FUNCTION add_counts(a bigint[], b bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(coalesce(u.a, 0) + coalesce(u.b, 0) ORDER BY u.n)
    FROM unnest(a, b) WITH ORDINALITY AS u (a, b, n)
$$;
COMMENT ON FUNCTION add_counts IS 'The sum of two lists of counters, place by place; a shorter one counts as filled with zeros.';

CREATE TABLE stats (
    tenant_id uuid NOT NULL,
    grain     smallint NOT NULL CHECK (grain IN (0, 1)),
    dimension smallint NOT NULL CHECK (dimension BETWEEN 0 AND 6),
    start     timestamptz NOT NULL,
    value     text COLLATE "C" NOT NULL,
    counts    bigint[] NOT NULL,
    times     bigint[] NOT NULL,
    PRIMARY KEY (tenant_id, grain, dimension, start, value)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX stats_by_age ON stats (grain, start);
COMMENT ON TABLE stats IS
    'How many events of each type a tenant had in an hour or a day, in all and for each value of a dimension. An event counts where it happened, not where its mail was accepted. Written by the roll-up alone, in the transaction that moves stats_cursor.';
COMMENT ON COLUMN stats.grain IS '0: an hour, 1: a day, of UTC.';
COMMENT ON COLUMN stats.dimension IS '0 all, 1 stream, 2 tag, 3 domain of the sender, 4 provider of the recipient, 5 template, 6 bounce class (domain::stats::Dimension).';
COMMENT ON COLUMN stats.value IS 'Of the dimension; empty for all. Beyond 500 different ones a day: (other).';
COMMENT ON COLUMN stats.counts IS
    'accepted, deferred, delivered, bounced, of them hard, expired, suppressed, canceled, complained, opened, first opened, opened by machines, clicked, first clicked, clicked by machines, unsubscribed, received.';
COMMENT ON COLUMN stats.times IS 'Deliveries by the time they took: two buckets for each doubling, the first up to 10 ms (domain::stats::Times). Zeros at the end are left out.';

CREATE TABLE stats_cursor (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    txid     bigint NOT NULL,
    event_id uuid NOT NULL
);
INSERT INTO stats_cursor (txid, event_id) VALUES (-9223372036854775808, '00000000-0000-0000-0000-000000000000');
COMMENT ON TABLE stats_cursor IS
    'How far the events have been counted: everything up to this event of this transaction, and nothing beyond. Whoever holds the row''s lock counts on.';

CREATE TABLE recipient_providers (
    domain    text COLLATE "C" PRIMARY KEY,
    provider  text NOT NULL,
    learnt_at timestamptz NOT NULL
);
COMMENT ON TABLE recipient_providers IS
    'Who keeps the mailboxes of a domain, learnt from the hosts that answered for it. Of all tenants: it is a fact about the domain.';
