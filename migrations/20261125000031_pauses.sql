-- Pauses: mail that is held until somebody lets it go on, or its time runs out.

CREATE TABLE pauses (
    tenant_id    uuid REFERENCES tenants ON DELETE CASCADE,
    id           uuid PRIMARY KEY,
    match_stream text,
    match_domain text,
    match_site   text,
    reason       text NOT NULL,
    created_at   timestamptz NOT NULL,
    CHECK ((tenant_id IS NULL) = (match_site IS NOT NULL)),
    CHECK (tenant_id IS NOT NULL OR (match_stream IS NULL AND match_domain IS NULL))
);
CREATE INDEX pauses_of_tenant ON pauses (tenant_id, id);
COMMENT ON TABLE pauses IS 'What is held: mail of a tenant, or whatever goes to a site. A pause that is deleted is over.';
COMMENT ON COLUMN pauses.tenant_id IS 'Whose mail; NULL: everybody''s that goes to the site.';
COMMENT ON COLUMN pauses.match_stream IS 'Only mail of this stream; NULL: all.';
COMMENT ON COLUMN pauses.match_domain IS 'Only mail to this recipient domain; NULL: all.';
COMMENT ON COLUMN pauses.match_site IS 'A provider of the table of paces, a relay (host, or host:port), or an MX host.';

CREATE TABLE held (
    lane        smallint NOT NULL,
    pause_id    uuid NOT NULL,
    delivery_id uuid NOT NULL,
    PRIMARY KEY (pause_id, lane, delivery_id)
);
COMMENT ON TABLE held IS 'Deliveries that a pause has put aside, due only when their time runs out. When the pause is gone they are made due, and their rows here deleted.';

INSERT INTO revisions (name, value) VALUES ('pauses', 1);
