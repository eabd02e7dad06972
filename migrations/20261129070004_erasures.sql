-- Erasing what is stored of one recipient, when he asks for it.

CREATE TABLE erasures (
    tenant_id       uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id              uuid NOT NULL,
    keep_suppressed boolean NOT NULL,
    deliveries      bigint NOT NULL DEFAULT 0,
    contents        bigint NOT NULL DEFAULT 0,
    inbound         bigint NOT NULL DEFAULT 0,
    due_at          timestamptz,
    finished_at     timestamptz,
    address_sealed  bytea,
    PRIMARY KEY (tenant_id, id),
    CHECK ((finished_at IS NULL) = (due_at IS NOT NULL)),
    CHECK ((finished_at IS NULL) = (address_sealed IS NOT NULL))
);
CREATE INDEX erasures_due ON erasures (due_at) WHERE due_at IS NOT NULL;
COMMENT ON TABLE erasures IS 'Requests to erase one recipient''s data. When one is done, nothing in it tells whose data it was.';
COMMENT ON COLUMN erasures.keep_suppressed IS 'He is not to be mailed again: known from then on by a keyed hash of the address alone.';
COMMENT ON COLUMN erasures.deliveries IS 'So many have been pseudonymised.';
COMMENT ON COLUMN erasures.contents IS 'So many messages had no other recipient, and have lost their content.';
COMMENT ON COLUMN erasures.inbound IS 'So many mails that came in from him or to him have been deleted.';
COMMENT ON COLUMN erasures.due_at IS 'When its next batch is taken; moved on by whoever takes it. NULL: it is done.';
COMMENT ON COLUMN erasures.address_sealed IS 'Whom it is about, until it is done.';

INSERT INTO revisions (name, value) VALUES ('erasures', 1);
