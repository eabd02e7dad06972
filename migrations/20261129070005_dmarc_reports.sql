-- What receivers report of mail in the name of sender domains (RFC 9990).

CREATE TABLE dmarc_reports (
    tenant_id  uuid NOT NULL,
    domain_id  uuid NOT NULL,
    id         uuid NOT NULL,
    begins_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    reporter   text NOT NULL,
    report_id  text NOT NULL,
    policy     text NOT NULL,
    PRIMARY KEY (tenant_id, domain_id, id),
    FOREIGN KEY (tenant_id, domain_id) REFERENCES domains (tenant_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX dmarc_reports_once ON dmarc_reports (tenant_id, domain_id, reporter, report_id);
CREATE INDEX dmarc_reports_by_end ON dmarc_reports (ends_at);
COMMENT ON TABLE dmarc_reports IS 'Aggregate reports that came in by mail, each once.';
COMMENT ON COLUMN dmarc_reports.policy IS 'What the domain asked of receivers: none, quarantine, reject; empty: it did not say.';

CREATE TABLE dmarc_rows (
    tenant_id    uuid NOT NULL,
    domain_id    uuid NOT NULL,
    report       uuid NOT NULL,
    messages     bigint NOT NULL CHECK (messages >= 0),
    ends_at      timestamptz NOT NULL,
    dkim_aligned boolean NOT NULL,
    spf_aligned  boolean NOT NULL,
    source       inet NOT NULL,
    disposition  text NOT NULL,
    FOREIGN KEY (tenant_id, domain_id, report) REFERENCES dmarc_reports ON DELETE CASCADE
);
CREATE INDEX dmarc_rows_of_domain ON dmarc_rows (tenant_id, domain_id, ends_at);
CREATE INDEX dmarc_rows_of_report ON dmarc_rows (tenant_id, domain_id, report);
COMMENT ON TABLE dmarc_rows IS 'Their rows: how much mail came from where, and whether it was aligned.';
COMMENT ON COLUMN dmarc_rows.disposition IS 'What the receiver did: none, quarantine, reject.';
