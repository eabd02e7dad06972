-- Mail that comes in and is passed on, and what it is looked at for before that.

ALTER TABLE inbound_calls ADD COLUMN kind text NOT NULL DEFAULT 'webhook'
    CHECK (kind IN ('webhook', 'forward', 'return'));
ALTER TABLE inbound_calls ALTER COLUMN route_id DROP NOT NULL;
ALTER TABLE inbound_calls ADD COLUMN message_id uuid;
COMMENT ON TABLE inbound_calls IS
    'Mail on its way to a tenant''s program, or on to another address: one row for each inbound mail with such a route.';
COMMENT ON COLUMN inbound_calls.kind IS
    'webhook: it is posted; forward: it is passed on; return: a notice goes back to whose mail was passed on.';
COMMENT ON COLUMN inbound_calls.route_id IS 'The route it came by; NULL: a notice that goes back.';
COMMENT ON COLUMN inbound_calls.message_id IS 'The message it was passed on as.';

ALTER TABLE inbound ADD COLUMN kind text;
ALTER TABLE inbound ADD COLUMN filtered jsonb;
COMMENT ON COLUMN inbound.kind IS
    'What it is by its form: mail, auto_reply, bounce, complaint or receipt (RFC 8098); NULL: of before this was noted.';
COMMENT ON COLUMN inbound.filtered IS 'Filters that held, and those that could not be asked; NULL: none.';

CREATE TABLE inbound_filters (
    tenant_id  uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    filters    jsonb NOT NULL,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE inbound_filters IS 'What all mail of a tenant is looked at for, before the filters of its route.';
COMMENT ON COLUMN inbound_filters.filters IS 'A list (store::filters), in order.';

-- Routes of before had none, as an object.
UPDATE inbound_routes SET filters = '[]';
COMMENT ON COLUMN inbound_routes.filters IS 'What its mail is looked at for: a list (store::filters), in order.';
