-- What tenants are told about their account, and who is told by mail.

CREATE TABLE notice_settings (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    emails    text[] NOT NULL
);
COMMENT ON TABLE notice_settings IS 'To whom a tenant''s notices go by mail. No row: to nobody.';

CREATE TABLE account_notices (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id        uuid NOT NULL,
    day       date NOT NULL,
    tries     smallint NOT NULL DEFAULT 0,
    type      text NOT NULL,
    subject   text NOT NULL,
    message   text NOT NULL,
    data      jsonb NOT NULL,
    read_at   timestamptz,
    mail_due  timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX account_notices_once ON account_notices (tenant_id, type, subject, day);
CREATE INDEX account_notices_to_mail ON account_notices (mail_due) WHERE mail_due IS NOT NULL;
CREATE INDEX account_notices_by_day ON account_notices (day);
COMMENT ON TABLE account_notices IS
    'What befell an account, written in the transaction of the fact. Of one thing at most one notice of a type a day.';
COMMENT ON COLUMN account_notices.subject IS 'What it is about: an id, or a name.';
COMMENT ON COLUMN account_notices.message IS 'A sentence for people.';
COMMENT ON COLUMN account_notices.mail_due IS 'It is still to be mailed, not before this moment; NULL: it has been, or nobody wants it.';
COMMENT ON COLUMN account_notices.tries IS 'How often mailing it was begun.';
