-- Pauses of the installation may hold a recipient domain, over all tenants, too.

ALTER TABLE pauses
    DROP CONSTRAINT pauses_check,
    DROP CONSTRAINT pauses_check1,
    ADD CONSTRAINT pauses_of_tenants CHECK (tenant_id IS NULL OR match_site IS NULL),
    ADD CONSTRAINT pauses_of_everybody
        CHECK (tenant_id IS NOT NULL OR (match_stream IS NULL AND (match_site IS NULL) <> (match_domain IS NULL)));
COMMENT ON TABLE pauses IS
    'What is held: mail of a tenant, or everybody''s that goes to a site or a recipient domain. A pause that is deleted is over.';
COMMENT ON COLUMN pauses.tenant_id IS 'Whose mail; NULL: everybody''s that goes to the site, or to the domain.';
