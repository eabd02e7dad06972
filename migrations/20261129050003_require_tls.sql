-- Verified TLS, or nothing: demanded for all mail of a tenant, or from a domain.

ALTER TABLE tenants ADD COLUMN require_tls boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN tenants.require_tls IS 'All its mail goes over verified TLS, or not at all.';
ALTER TABLE domains ADD COLUMN require_tls boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN domains.require_tls IS 'All mail from it goes over verified TLS, or not at all.';
