-- Certificates by ACME (RFC 8555), and what is kept for getting them. Any node may get one, answer a challenge, or show it.

CREATE TABLE acme_accounts (
    directory          text PRIMARY KEY,
    contact            text NOT NULL,
    credentials_sealed bytea NOT NULL,
    created_at         timestamptz NOT NULL
);
COMMENT ON TABLE acme_accounts IS 'Who we are to certificate authorities.';
COMMENT ON COLUMN acme_accounts.directory IS 'The URL by which an authority is known.';
COMMENT ON COLUMN acme_accounts.credentials_sealed IS 'The account''s key and URL; sealed with the master key.';

CREATE TABLE acme_challenges (
    token             text PRIMARY KEY,
    key_authorization text NOT NULL,
    expires_at        timestamptz NOT NULL
);
COMMENT ON TABLE acme_challenges IS 'What /.well-known/acme-challenge/ answers (RFC 8555 §8.3).';

CREATE TABLE certificates (
    name       text PRIMARY KEY CHECK (name = lower(name)),
    chain      text,
    key_sealed bytea,
    not_before timestamptz,
    not_after  timestamptz,
    due_at     timestamptz NOT NULL,
    failures   integer NOT NULL,
    last_error text,
    CHECK ((chain IS NULL) = (key_sealed IS NULL) AND (chain IS NULL) = (not_after IS NULL)
           AND (chain IS NULL) = (not_before IS NULL))
);
COMMENT ON TABLE certificates IS 'Certificates that we have or want, by name.';
COMMENT ON COLUMN certificates.chain IS 'PEM, that of the name first; NULL: there is none yet.';
COMMENT ON COLUMN certificates.key_sealed IS 'Its key, PEM; sealed with the master key.';
COMMENT ON COLUMN certificates.due_at IS
    'When it is asked for or renewed; a node that does so moves this ahead first, as a lease.';
COMMENT ON COLUMN certificates.failures IS 'Tries in a row that have failed.';

INSERT INTO revisions (name, value) VALUES ('certificates', 1);
