-- What domains demand of the way to them (MTA-STS, RFC 8461).

CREATE TABLE mta_sts_policies (
    domain     text COLLATE "C" PRIMARY KEY,
    id         text NOT NULL,
    mode       text NOT NULL CHECK (mode IN ('enforce', 'testing', 'none')),
    mx         text[] NOT NULL,
    max_age    integer NOT NULL CHECK (max_age >= 0),
    fetched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX mta_sts_policies_of_age ON mta_sts_policies (expires_at);
COMMENT ON TABLE mta_sts_policies IS
    'Policies of recipient domains, kept as long as they said: who cuts us off from a domain''s web server does not end its policy. They belong to no tenant.';
COMMENT ON COLUMN mta_sts_policies.id IS 'The id in the domain''s TXT record when it was fetched; another id there means another policy.';
COMMENT ON COLUMN mta_sts_policies.mx IS 'Names of its servers; *. stands for one label.';
