-- The guard of reputation: rates of bounces and complaints, what is held for them, and where we are listed.

ALTER TABLE pauses ADD COLUMN match_sender text CHECK (match_sender IS NULL OR tenant_id IS NOT NULL);
COMMENT ON COLUMN pauses.match_sender IS 'Only mail from this domain; NULL: all.';
ALTER TABLE pauses ADD COLUMN match_kind text
    CHECK (match_kind = 'broadcast' AND (match_kind IS NULL OR tenant_id IS NOT NULL));
COMMENT ON COLUMN pauses.match_kind IS 'broadcast: only mail of streams that recipients may leave; NULL: all.';

CREATE TABLE reputations (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    pause_id     uuid,
    delivered    bigint NOT NULL,
    bounced      bigint NOT NULL,
    complained   bigint NOT NULL,
    counted_from timestamptz,
    changed_at   timestamptz NOT NULL,
    looked_at    timestamptz NOT NULL,
    subject      text NOT NULL CHECK (subject IN ('domain', 'stream')),
    name         text COLLATE "C" NOT NULL,
    state        text NOT NULL CHECK (state IN ('good', 'warned', 'held')),
    PRIMARY KEY (tenant_id, subject, name)
);
COMMENT ON TABLE reputations IS 'How a tenant''s sender domains and streams stand with their recipients, as the guard found it last. From stats.';
COMMENT ON COLUMN reputations.pause_id IS 'The pause that holds its broadcast mail. Deleting that lets it go on.';
COMMENT ON COLUMN reputations.bounced IS 'Those that say that the address is dead.';
COMMENT ON COLUMN reputations.counted_from IS 'Nothing before counts any more: it was let go on. NULL: the whole window.';

CREATE TABLE standings (
    checked_at timestamptz NOT NULL,
    subject    text NOT NULL CHECK (subject IN ('ip', 'domain')),
    name       text COLLATE "C" NOT NULL,
    findings   jsonb NOT NULL,
    PRIMARY KEY (subject, name)
);
COMMENT ON TABLE standings IS 'What the world''s DNS says of our addresses and of tenants'' domains: whether names lead back (FCrDNS), and who lists them. Looked up daily.';
COMMENT ON COLUMN standings.findings IS 'fcrdns: names found, and whether they lead back; zones: by list, what it said.';

CREATE TABLE chores (
    due_at timestamptz NOT NULL,
    name   text COLLATE "C" PRIMARY KEY
);
COMMENT ON TABLE chores IS 'What one process does for all, now and then: whoever moves due_at ahead does it.';
INSERT INTO chores (name, due_at) VALUES ('guard', '-infinity'), ('standing', '-infinity');
