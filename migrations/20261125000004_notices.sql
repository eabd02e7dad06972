-- What submitters by SMTP are told about their mail (RFC 3461).

ALTER TABLE tenants ADD COLUMN dsn text NOT NULL DEFAULT 'asked' CHECK (dsn IN ('asked', 'always', 'never'));
COMMENT ON COLUMN tenants.dsn IS
    'Which notices submitters by SMTP get: those they asked for, delays as well unless they said otherwise, or none.';

CREATE TABLE notices (
    event_id    uuid PRIMARY KEY,
    lane        smallint NOT NULL,
    tries       smallint NOT NULL DEFAULT 0,
    delivery_id uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('failed', 'delayed', 'relayed')),
    due_at      timestamptz NOT NULL
);
CREATE INDEX notices_by_due ON notices (due_at);
COMMENT ON TABLE notices IS
    'Notices that are still to be written to submitters. A row comes in the transaction of the result it tells of, and leaves once the notice is accepted as a mail.';
COMMENT ON COLUMN notices.event_id IS 'The event it tells of; also what makes writing it twice one mail.';
COMMENT ON COLUMN notices.tries IS 'How often it was begun.';
COMMENT ON COLUMN notices.due_at IS 'Not before this moment; moved on when it is begun, so that one process at a time writes it.';
