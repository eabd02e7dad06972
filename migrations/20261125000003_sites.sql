-- Sites: what all processes must agree on about the next hops of mail.

CREATE TABLE sites (
    suspended_until  timestamptz,
    slowed_until     timestamptz,
    told_at          timestamptz,
    slow_connections integer CHECK (slow_connections > 0),
    site             text COLLATE "C" NOT NULL,
    source           text COLLATE "C" NOT NULL,
    provider         text NOT NULL DEFAULT '',
    slow_mails       text,
    told             text,
    PRIMARY KEY (site, source)
);
COMMENT ON TABLE sites IS 'Next hops that have been used lately: what their replies have changed of their pace. The row is also the lock under which shares of a site are given out.';
COMMENT ON COLUMN sites.site IS 'A relay (user@host:port) or a group of MX hosts, as processes call it.';
COMMENT ON COLUMN sites.source IS 'The address of ours that limits hold for; empty: whichever the system picks.';
COMMENT ON COLUMN sites.provider IS 'The table of paces'' name for it; empty: nobody has said yet.';
COMMENT ON COLUMN sites.slow_mails IS 'A rate: 10/min.';
COMMENT ON COLUMN sites.told IS 'The reply that changed the pace last.';

CREATE TABLE site_shares (
    site        text COLLATE "C" NOT NULL,
    source      text COLLATE "C" NOT NULL,
    incarnation integer NOT NULL,
    connections integer NOT NULL CHECK (connections >= 0),
    PRIMARY KEY (site, source, incarnation)
);
CREATE INDEX site_shares_of_incarnation ON site_shares (incarnation);
COMMENT ON TABLE site_shares IS 'How many of a site''s connections each process may have open. Written before it opens them and lowered after it has closed them, so that the sum never exceeds the limit.';
COMMENT ON COLUMN site_shares.connections IS '0: it has asked, and there is none for it yet.';
