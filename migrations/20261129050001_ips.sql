-- The addresses that mail leaves from: pools of them, whose mail uses which, and how new ones are warmed up.

CREATE TABLE ips (
    id            uuid PRIMARY KEY,
    address       text COLLATE "C" NOT NULL UNIQUE CHECK (family(address::inet) = 4),
    address6      text COLLATE "C" UNIQUE CHECK (family(address6::inet) = 6),
    ehlo          text NOT NULL,
    pool          text COLLATE "C" NOT NULL CHECK (pool ~ '^[a-z0-9_-]{1,64}$'),
    state         text NOT NULL CHECK (state IN ('active', 'warming', 'paused')),
    warming_since timestamptz,
    created_at    timestamptz NOT NULL,
    CHECK (state <> 'warming' OR warming_since IS NOT NULL)
);
COMMENT ON TABLE ips IS 'Addresses of ours that mail goes out from directly. None: whichever the system picks. Each process uses those that its machine has.';
COMMENT ON COLUMN ips.address6 IS 'The IPv6 address beside it, for servers that are reached so; NULL: IPv4 alone.';
COMMENT ON COLUMN ips.ehlo IS 'Who we say we are from there; its name should lead to the address and back (FCrDNS).';
COMMENT ON COLUMN ips.warming_since IS 'The first day of its warm-up.';

CREATE TABLE ip_rules (
    tenant_id    uuid REFERENCES tenants ON DELETE CASCADE,
    id           uuid PRIMARY KEY,
    match_stream text COLLATE "C",
    pool         text COLLATE "C" NOT NULL CHECK (pool ~ '^[a-z0-9_-]{1,64}$'),
    weight       integer NOT NULL CHECK (weight BETWEEN 1 AND 1000),
    created_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX ip_rules_of_match
    ON ip_rules (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), coalesce(match_stream, ''), pool);
COMMENT ON TABLE ip_rules IS 'Which pools mail uses: of those rules that match most specifically, by their weights. No rule: the pool default.';
COMMENT ON COLUMN ip_rules.tenant_id IS 'Whose mail; NULL: everybody''s.';
COMMENT ON COLUMN ip_rules.match_stream IS 'Only mail of this stream; NULL: all.';

CREATE TABLE ip_warmups (
    day      date NOT NULL,
    allowed  integer NOT NULL CHECK (allowed >= 0),
    granted  integer NOT NULL CHECK (granted >= 0),
    ip_id    uuid NOT NULL REFERENCES ips ON DELETE CASCADE,
    provider text COLLATE "C" NOT NULL,
    PRIMARY KEY (ip_id, day, provider)
);
COMMENT ON TABLE ip_warmups IS 'How many mails of a day may leave from an address that is warmed up, to a provider, and how many of them processes have taken. Kept for 90 days.';
COMMENT ON COLUMN ip_warmups.granted IS 'Taken by processes in small portions, before the mails leave: never more than allowed.';

ALTER TABLE queue ADD COLUMN source text;
COMMENT ON COLUMN queue.source IS 'The address of ours that the last attempt was made from, so that the next one is, too (greylisting); NULL: none of the pools.';
ALTER TABLE attempts ADD COLUMN source text;
COMMENT ON COLUMN attempts.source IS 'The address of ours that it was made from; NULL: whichever the system picked.';

INSERT INTO revisions (name, value) VALUES ('ips', 1);
