-- Tenants, their API keys, and what every node must agree on.

CREATE TABLE tenants (
    id           uuid PRIMARY KEY,
    name         text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    created_at   timestamptz NOT NULL,
    suspended_at timestamptz
);
COMMENT ON TABLE tenants IS 'A customer of this installation. Everything a tenant owns carries its id.';
COMMENT ON COLUMN tenants.suspended_at IS 'Set: nothing is accepted, and what is queued is held, not sent.';

CREATE TABLE api_keys (
    tenant_id       uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id              uuid NOT NULL,
    name            text NOT NULL,
    hint            text NOT NULL,
    hash            bytea NOT NULL CHECK (length(hash) = 32),
    scopes          text[] NOT NULL,
    test            boolean NOT NULL,
    domains         text[],
    streams         text[],
    allow_ips       text[],
    rate_per_second integer CHECK (rate_per_second > 0),
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    last_used_at    timestamptz,
    revoked_at      timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
COMMENT ON TABLE api_keys IS 'Credentials of HTTP and SMTP callers. The key itself is never stored.';
COMMENT ON COLUMN api_keys.hint IS 'The first characters of the key, to recognise it by.';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the key: it has 256 random bits, so no slow hash is needed.';
COMMENT ON COLUMN api_keys.test IS 'Everything sent with a test key is sandboxed.';
COMMENT ON COLUMN api_keys.domains IS 'Sender domains the key may use; NULL: all.';
COMMENT ON COLUMN api_keys.streams IS 'Streams the key may use; NULL: all.';
COMMENT ON COLUMN api_keys.allow_ips IS 'Networks (CIDR) the key may be used from; NULL: all.';
COMMENT ON COLUMN api_keys.rate_per_second IS 'Requests a second; NULL: the installation''s default.';

CREATE TABLE revisions (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO revisions (name, value) VALUES ('credentials', 1);
COMMENT ON TABLE revisions IS
    'Counters raised in the transaction that changes what nodes keep in memory. Every node reads them twice a second and forgets what has changed.';

CREATE TABLE installation (
    name  text PRIMARY KEY,
    value text NOT NULL
);
COMMENT ON TABLE installation IS 'Facts of the whole installation, such as the fingerprint of its master key.';

CREATE TABLE nodes (
    incarnation integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node_id     uuid NOT NULL,
    hostname    text NOT NULL,
    version     text NOT NULL,
    roles       text[] NOT NULL,
    started_at  timestamptz NOT NULL,
    alive_until timestamptz NOT NULL,
    rescued_at  timestamptz
);
COMMENT ON TABLE nodes IS 'One row for each time a postroad process started: an incarnation, the owner of leases.';
COMMENT ON COLUMN nodes.node_id IS 'The same at every start from one data directory, whose lock proves that earlier incarnations are dead.';
COMMENT ON COLUMN nodes.alive_until IS 'Renewed every 10 s while the process runs; past: its leases may be taken over.';
COMMENT ON COLUMN nodes.rescued_at IS 'When the leases of a dead incarnation were made due. NULL while it lives.';

CREATE TABLE audit_log (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    actor      text NOT NULL,
    ip         inet,
    action     text NOT NULL,
    target     text NOT NULL,
    details    jsonb,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE audit_log IS 'Who changed what, written in the transaction of the change.';
COMMENT ON COLUMN audit_log.actor IS 'key_…, user_… or cli.';
COMMENT ON COLUMN audit_log.action IS 'noun.verb, such as key.create.';
