-- TLS reporting (RFC 8460): how sessions to recipient domains that want to know fared, by day, and the reports to send.

CREATE TABLE tls_results (
    day      date NOT NULL,
    sessions bigint NOT NULL CHECK (sessions > 0),
    domain   text COLLATE "C" NOT NULL,
    policy   text NOT NULL CHECK (policy IN ('sts', 'tlsa', 'no-policy-found')),
    result   text NOT NULL,
    mx       text NOT NULL,
    source   text NOT NULL,
    ip       text NOT NULL,
    PRIMARY KEY (day, domain, policy, result, mx, source, ip)
);
COMMENT ON TABLE tls_results IS 'Sessions with the servers of domains that publish a _smtp._tls record. Of all tenants: they are facts about servers. Deleted when they have been reported.';
COMMENT ON COLUMN tls_results.result IS 'successful, or a result type of RFC 8460 §4.3.';
COMMENT ON COLUMN tls_results.source IS 'The address of ours, if it is set up; empty: whichever the system picked.';

CREATE TABLE tls_reports (
    day    date NOT NULL,
    due_at timestamptz NOT NULL,
    tries  smallint NOT NULL DEFAULT 0,
    domain text COLLATE "C" NOT NULL,
    PRIMARY KEY (day, domain)
);
CREATE INDEX tls_reports_due ON tls_reports (due_at);
COMMENT ON TABLE tls_reports IS 'Reports that are still to be sent: a day''s, to a domain. Whoever moves due_at ahead sends it.';
