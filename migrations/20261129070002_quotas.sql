-- How much a tenant may send, and how much of it has been given out.

CREATE TABLE quotas (
    tenant_id     uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    per_second    bigint CHECK (per_second > 0),
    per_day       bigint CHECK (per_day >= 0),
    per_month     bigint CHECK (per_month >= 0),
    message_bytes bigint CHECK (message_bytes > 0),
    recipients    bigint CHECK (recipients > 0)
);
COMMENT ON TABLE quotas IS 'What a tenant is limited to; NULL, or no row: only by the installation.';
COMMENT ON COLUMN quotas.per_second IS 'Mails a second.';
COMMENT ON COLUMN quotas.per_day IS 'Recipients a day (UTC).';
COMMENT ON COLUMN quotas.per_month IS 'Recipients a month (UTC).';
COMMENT ON COLUMN quotas.recipients IS 'Of one mail.';

CREATE TABLE quota_counters (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    period    text NOT NULL CHECK (period IN ('second', 'day', 'month')),
    starts_at timestamptz NOT NULL,
    leased    bigint NOT NULL CHECK (leased >= 0),
    PRIMARY KEY (tenant_id, period)
) WITH (fillfactor = 50);
COMMENT ON TABLE quota_counters IS
    'How much of the present period''s limit processes have taken, in portions that they spend from memory. The row is the lock under which portions are given.';

INSERT INTO revisions (name, value) VALUES ('quotas', 1);
