-- Tenants' routes may lead to the recipients' own servers.

ALTER TABLE relays ADD COLUMN route text NOT NULL DEFAULT 'smtp' CHECK (route IN ('smtp', 'direct'));
COMMENT ON COLUMN relays.route IS
    'smtp: through host and port. direct: to the recipient''s MX; host is empty, port and connections mean nothing.';
