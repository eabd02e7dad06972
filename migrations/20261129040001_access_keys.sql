-- Keys with a secret that can be read back: whoever checks a signature needs it.
ALTER TABLE api_keys
    ADD COLUMN access_key_id text CHECK (length(access_key_id) BETWEEN 8 AND 128),
    ADD COLUMN sealed_secret bytea,
    ADD CONSTRAINT api_keys_access_key CHECK ((access_key_id IS NULL) = (sealed_secret IS NULL));
CREATE UNIQUE INDEX api_keys_access_key_id ON api_keys (access_key_id)
    WHERE access_key_id IS NOT NULL AND revoked_at IS NULL;
COMMENT ON COLUMN api_keys.access_key_id IS 'The public half of a key that signs requests (AWS Signature Version 4); NULL: the key is shown as it is.';
COMMENT ON COLUMN api_keys.sealed_secret IS 'Its secret half, sealed for this row.';

-- Mail that needs no login: printers and scanners have an address, and no way to keep a secret.
ALTER TABLE api_keys ADD COLUMN smtp_networks text[];
CREATE INDEX api_keys_smtp_networks ON api_keys (tenant_id) WHERE smtp_networks IS NOT NULL AND revoked_at IS NULL;
COMMENT ON COLUMN api_keys.smtp_networks IS 'Networks (CIDR) whose SMTP sessions need no login: they have this key; NULL: none.';
