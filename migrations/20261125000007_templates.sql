-- Templates: what mail is made of, in versions of which one is published.

CREATE TABLE templates (
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id          uuid NOT NULL,
    alias       text,
    name        text NOT NULL,
    latest      integer NOT NULL CHECK (latest >= 1),
    published   integer CHECK (published BETWEEN 1 AND latest),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX templates_of_alias ON templates (tenant_id, alias);
COMMENT ON TABLE templates IS 'What mail is made of. Its sources are in template_versions.';
COMMENT ON COLUMN templates.alias IS 'The name that sends and partials use; NULL: only the id.';
COMMENT ON COLUMN templates.latest IS 'The newest version.';
COMMENT ON COLUMN templates.published IS 'The version that sends use; NULL: none yet.';

CREATE TABLE template_versions (
    tenant_id   uuid NOT NULL,
    template_id uuid NOT NULL,
    version     integer NOT NULL CHECK (version >= 1),
    contents    jsonb NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, template_id, version),
    FOREIGN KEY (tenant_id, template_id) REFERENCES templates (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE template_versions IS 'The versions of templates: insert-only.';
COMMENT ON COLUMN template_versions.contents IS
    'Sources by part (subject, text, html, mjml, amp), and in locales the same by language.';
