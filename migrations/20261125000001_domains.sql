-- Sender domains: who may send as whom, the keys that sign, and how it came about.

CREATE TABLE domains (
    tenant_id     uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id            uuid NOT NULL,
    name          text NOT NULL CHECK (name = lower(name) AND length(name) BETWEEN 3 AND 253),
    return_path   text NOT NULL,
    status        text NOT NULL CHECK (status IN ('pending', 'verified', 'failing')),
    returns       boolean NOT NULL DEFAULT false,
    checks        jsonb NOT NULL DEFAULT '{}',
    paused_at     timestamptz,
    created_at    timestamptz NOT NULL,
    verified_at   timestamptz,
    failing_since timestamptz,
    checked_at    timestamptz,
    check_due_at  timestamptz,
    revision      bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name),
    CHECK (status = 'pending' OR verified_at IS NOT NULL),
    CHECK ((status = 'failing') = (failing_since IS NOT NULL))
);
CREATE UNIQUE INDEX domains_held ON domains (name) WHERE status <> 'pending';
CREATE INDEX domains_of_name ON domains (name);
CREATE INDEX domains_due ON domains (check_due_at) WHERE check_due_at IS NOT NULL;
COMMENT ON TABLE domains IS
    'Domains that tenants send as. Several tenants may have one as pending; it is held (verified or failing) by one at a time.';
COMMENT ON COLUMN domains.name IS 'In lower-case A-labels, without a final dot.';
COMMENT ON COLUMN domains.return_path IS 'The full name of its return-path domain, below its own.';
COMMENT ON COLUMN domains.status IS
    'pending: not proved. verified: all required records are published. failing: they were, and it may still send.';
COMMENT ON COLUMN domains.returns IS 'Whether its return-path domain was found published: then MAIL FROM uses it.';
COMMENT ON COLUMN domains.checks IS 'What the last look-up found, by purpose and name of the record.';
COMMENT ON COLUMN domains.paused_at IS 'Set: its owner has stopped it; nothing is accepted from it, and what is queued waits.';
COMMENT ON COLUMN domains.verified_at IS 'When it was proved last, having not been held before.';
COMMENT ON COLUMN domains.failing_since IS 'Since when a required record has been missing or wrong.';
COMMENT ON COLUMN domains.check_due_at IS
    'When its records are looked up next; a node that does so moves this ahead first, as a lease. NULL: only when asked.';
COMMENT ON COLUMN domains.revision IS 'Value of the counter "domains" at its last change: nodes read again what has changed.';

CREATE TABLE domain_keys (
    tenant_id      uuid NOT NULL,
    domain_id      uuid NOT NULL,
    id             uuid NOT NULL,
    selector       text NOT NULL,
    algorithm      text NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
    origin         text NOT NULL CHECK (origin IN ('generated', 'imported')),
    state          text NOT NULL CHECK (state IN ('next', 'active', 'retiring')),
    published      boolean NOT NULL DEFAULT false,
    public_key     text NOT NULL,
    private_sealed bytea NOT NULL,
    created_at     timestamptz NOT NULL,
    active_at      timestamptz,
    retired_at     timestamptz,
    PRIMARY KEY (tenant_id, domain_id, id),
    UNIQUE (tenant_id, domain_id, selector),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains ON DELETE CASCADE,
    CHECK ((state = 'retiring') = (retired_at IS NOT NULL))
);
CREATE UNIQUE INDEX domain_keys_in_use ON domain_keys (tenant_id, domain_id, algorithm, state)
    WHERE state IN ('next', 'active');
COMMENT ON TABLE domain_keys IS 'DKIM keys of domains.';
COMMENT ON COLUMN domain_keys.state IS
    'next: signs as soon as its record is found. active: signs. retiring: signs no more; its record is still needed by mail under way.';
COMMENT ON COLUMN domain_keys.published IS 'Whether the last look-up found its record.';
COMMENT ON COLUMN domain_keys.public_key IS 'As in p= of its record (RFC 6376 §3.6.1, RFC 8463 §4).';
COMMENT ON COLUMN domain_keys.private_sealed IS 'PKCS #8, sealed with the master key for this row.';

CREATE TABLE domain_history (
    tenant_id uuid NOT NULL,
    domain_id uuid NOT NULL,
    id        uuid NOT NULL,
    kind      text NOT NULL,
    message   text NOT NULL,
    PRIMARY KEY (tenant_id, domain_id, id),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains ON DELETE CASCADE
);
COMMENT ON TABLE domain_history IS 'What happened to a domain, for its owner to read. The id tells when.';

INSERT INTO revisions (name, value) VALUES ('domains', 1);
