-- Passkeys: a second factor that no other site can ask for.

CREATE TABLE passkeys (
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    id           uuid NOT NULL,
    credential   bytea NOT NULL UNIQUE CHECK (length(credential) <= 1023),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    key          jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    PRIMARY KEY (user_id, id)
);
COMMENT ON TABLE passkeys IS 'Public keys of people''s authenticators (WebAuthn).';
COMMENT ON COLUMN passkeys.credential IS 'The authenticator''s name for the key; nobody else has one of this name.';
COMMENT ON COLUMN passkeys.name IS 'What its owner calls it.';
COMMENT ON COLUMN passkeys.key IS 'The public key, its counter and what else is checked at the next use.';

CREATE TABLE passkey_ceremonies (
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    kind       text NOT NULL CHECK (kind IN ('register', 'prove')),
    state      bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, kind)
);
COMMENT ON TABLE passkey_ceremonies IS 'What an authenticator was asked last and has not answered yet. Each is answered once.';
COMMENT ON COLUMN passkey_ceremonies.state IS 'The challenge and what is expected of its answer, sealed.';
