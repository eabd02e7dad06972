-- People who use the dashboard: who they are, where they may what, and how they prove it.

CREATE TABLE users (
    id                  uuid PRIMARY KEY,
    email               text COLLATE "C" NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) <= 254),
    name                text NOT NULL CHECK (length(name) <= 200),
    password            text CHECK (password LIKE '$argon2id$%'),
    password_changed_at timestamptz,
    operator            boolean NOT NULL,
    created_at          timestamptz NOT NULL
);
COMMENT ON TABLE users IS 'A person. Belongs to no tenant; memberships say where she may what.';
COMMENT ON COLUMN users.email IS 'In lower case: what she signs in with.';
COMMENT ON COLUMN users.password IS 'Argon2id in PHC form; NULL: she signs in by other means, or has not chosen one yet.';
COMMENT ON COLUMN users.operator IS 'She runs the installation: tenants, queue, nodes.';

CREATE TABLE memberships (
    tenant_id  uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX memberships_of_user ON memberships (user_id);
COMMENT ON TABLE memberships IS 'What a person may in a tenant. A tenant that had an owner always has one.';

CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    tenant_id  uuid REFERENCES tenants ON DELETE SET NULL,
    renewal    bytea NOT NULL UNIQUE CHECK (length(renewal) = 32),
    method     text NOT NULL,
    ip         inet,
    user_agent text NOT NULL CHECK (length(user_agent) <= 400),
    created_at timestamptz NOT NULL,
    proved_at  timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (expires_at);
COMMENT ON TABLE sessions IS 'One signed-in browser. What its cookie says counts only while this row says so too.';
COMMENT ON COLUMN sessions.tenant_id IS 'Whose dashboard it shows; NULL: the first one there is.';
COMMENT ON COLUMN sessions.renewal IS 'SHA-256 of the secret that gets the browser its next short-lived token.';
COMMENT ON COLUMN sessions.method IS 'How she proved who she is: password, password+totp, oidc…';
COMMENT ON COLUMN sessions.proved_at IS 'When she last did; what is dangerous wants it to be recent.';
COMMENT ON COLUMN sessions.seen_at IS 'Last used, to the minute.';

CREATE TABLE invitations (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id          uuid NOT NULL,
    email       text COLLATE "C" NOT NULL CHECK (email = lower(email)),
    role        text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    hash        bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    invited_by  text NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    accepted_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX invitations_open ON invitations (tenant_id, email) WHERE accepted_at IS NULL;
CREATE INDEX invitations_by_email ON invitations (email) WHERE accepted_at IS NULL;
COMMENT ON TABLE invitations IS 'Who is asked to join a tenant. The link is in the mail alone; here is its SHA-256.';
COMMENT ON COLUMN invitations.invited_by IS 'user_…, key_… or cli.';

CREATE TABLE one_time_links (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
    purpose    text NOT NULL CHECK (purpose IN ('setup', 'reset')),
    user_id    uuid REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CHECK ((purpose = 'setup') = (user_id IS NULL))
);
CREATE INDEX one_time_links_of_user ON one_time_links (user_id);
COMMENT ON TABLE one_time_links IS 'Links that work once: setup makes the first user, reset sets a password.';
COMMENT ON COLUMN one_time_links.hash IS 'SHA-256 of the token in the link.';

CREATE TABLE totp_factors (
    user_id      uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    secret       bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    last_step    bigint NOT NULL
);
COMMENT ON TABLE totp_factors IS 'Authenticator apps (RFC 6238).';
COMMENT ON COLUMN totp_factors.secret IS 'Sealed for the user.';
COMMENT ON COLUMN totp_factors.confirmed_at IS 'NULL: a code of it was never given, and it is not asked for.';
COMMENT ON COLUMN totp_factors.last_step IS 'The time step of the last code that was taken: none is taken twice.';

CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    hash    bytea NOT NULL CHECK (length(hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, hash)
);
COMMENT ON TABLE recovery_codes IS 'Codes for who has lost her second factor; each works once. 80 random bits, so that SHA-256 keeps them.';

CREATE TABLE user_identities (
    issuer     text NOT NULL,
    subject    text NOT NULL,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX user_identities_of_user ON user_identities (user_id);
COMMENT ON TABLE user_identities IS 'Who a user is at an OpenID provider. Never found by address again once it is here.';

CREATE TABLE sign_ins (
    id         uuid PRIMARY KEY,
    user_id    uuid REFERENCES users ON DELETE CASCADE,
    email      text NOT NULL CHECK (length(email) <= 254),
    method     text NOT NULL,
    outcome    text NOT NULL,
    ip         inet,
    user_agent text NOT NULL CHECK (length(user_agent) <= 400)
);
CREATE INDEX sign_ins_of_user ON sign_ins (user_id, id);
COMMENT ON TABLE sign_ins IS 'Every try to sign in, reset or prove: when (in the id), from where, and what came of it.';
COMMENT ON COLUMN sign_ins.user_id IS 'NULL: nobody has the address.';
