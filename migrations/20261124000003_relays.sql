-- Relays: routes by tenant, stream and recipient domain.

CREATE TABLE relays (
    tenant_id       uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id              uuid NOT NULL,
    name            text NOT NULL,
    host            text NOT NULL,
    port            integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    tls             text NOT NULL CHECK (tls IN ('none', 'opportunistic', 'required', 'implicit')),
    auth_sealed     bytea,
    match_stream    text,
    match_domain    text,
    max_connections integer NOT NULL CHECK (max_connections BETWEEN 1 AND 1000),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX relays_of_match
    ON relays (tenant_id, coalesce(match_stream, ''), coalesce(match_domain, ''));
COMMENT ON TABLE relays IS 'SMTP servers a tenant''s mail goes through instead of the installation''s own route.';
COMMENT ON COLUMN relays.auth_sealed IS 'Credentials, sealed with the master key; NULL: none.';
COMMENT ON COLUMN relays.match_stream IS 'Only mail of this stream; NULL: all.';
COMMENT ON COLUMN relays.match_domain IS 'Only mail to this recipient domain; NULL: all. The most specific match wins.';

INSERT INTO revisions (name, value) VALUES ('relays', 1);
