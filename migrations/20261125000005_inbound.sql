-- Mail that comes in: what tenants want done with it, the mail itself, and its way to their programs.

CREATE TABLE inbound_routes (
    tenant_id     uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id            uuid NOT NULL,
    local_pattern text COLLATE "C" NOT NULL,
    domain        text COLLATE "C" NOT NULL,
    priority      integer NOT NULL,
    action        text NOT NULL CHECK (action IN ('webhook', 'store', 'forward', 'reject')),
    url           text CHECK ((action = 'webhook') = (url IS NOT NULL)),
    secret_sealed bytea CHECK ((action = 'webhook') = (secret_sealed IS NOT NULL)),
    forward_to    text CHECK ((action = 'forward') = (forward_to IS NOT NULL)),
    filters       jsonb NOT NULL,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX inbound_routes_of_match ON inbound_routes (tenant_id, domain, local_pattern);
COMMENT ON TABLE inbound_routes IS 'What is done with mail that comes in for a tenant''s domains.';
COMMENT ON COLUMN inbound_routes.local_pattern IS 'Local parts it is for, in lower case; * stands for any characters.';
COMMENT ON COLUMN inbound_routes.domain IS 'The domain it is for, in lower-case A-labels.';
COMMENT ON COLUMN inbound_routes.priority IS 'Of the routes that match, the lowest wins; then the one with the longer pattern.';
COMMENT ON COLUMN inbound_routes.secret_sealed IS 'Signs what is posted to url; sealed with the master key.';
COMMENT ON COLUMN inbound_routes.filters IS 'What mail must be like to be taken (domain::inbound); {}: anything.';

CREATE TABLE inbound (
    id         uuid NOT NULL,
    tenant_id  uuid NOT NULL,
    route_id   uuid,
    size_bytes integer NOT NULL,
    peer       inet NOT NULL,
    helo       text NOT NULL,
    tls        text,
    sender     text NOT NULL,
    recipient  text NOT NULL,
    author     text NOT NULL,
    subject    text NOT NULL,
    message_id text NOT NULL,
    verdicts   jsonb NOT NULL,
    raw        bytea COMPRESSION lz4 NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE inbound IS 'Mail that came in over SMTP and was kept. Insert-only.';
COMMENT ON COLUMN inbound.id IS 'UUIDv7 of the moment it came.';
COMMENT ON COLUMN inbound.route_id IS 'The route it came by; NULL: to postmaster or abuse of this installation.';
COMMENT ON COLUMN inbound.sender IS 'MAIL FROM; empty: the null path.';
COMMENT ON COLUMN inbound.recipient IS 'RCPT TO: one row for each recipient.';
COMMENT ON COLUMN inbound.author IS 'The From field, decoded.';
COMMENT ON COLUMN inbound.verdicts IS 'What SPF, DKIM, DMARC and ARC say of it.';
COMMENT ON COLUMN inbound.raw IS 'The mail with the trace fields that were put before it.';

CREATE TABLE inbound_calls (
    tenant_id   uuid NOT NULL,
    inbound_id  uuid NOT NULL,
    route_id    uuid NOT NULL,
    attempts    integer NOT NULL,
    due_at      timestamptz,
    state       text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    last_status integer,
    last_error  text,
    PRIMARY KEY (tenant_id, inbound_id),
    CHECK ((state = 'pending') = (due_at IS NOT NULL))
);
CREATE INDEX inbound_calls_due ON inbound_calls (due_at) WHERE due_at IS NOT NULL;
COMMENT ON TABLE inbound_calls IS 'Mail that is posted to a tenant''s program: one row for each inbound mail with such a route.';
COMMENT ON COLUMN inbound_calls.attempts IS 'Counted before the call.';
COMMENT ON COLUMN inbound_calls.due_at IS 'When it is tried next, or when somebody else may take it over; NULL: it is over.';

INSERT INTO revisions (name, value) VALUES ('inbound', 1);
