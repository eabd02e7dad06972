-- What is watched of mail that does not say: by its stream, else by its sender domain.

ALTER TABLE streams ADD COLUMN tracking_decides boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN streams.tracking_decides IS 'Its owner has said what is watched; false, and nothing watched: the sender domain decides.';

ALTER TABLE domains ADD COLUMN track_opens boolean NOT NULL DEFAULT false;
ALTER TABLE domains ADD COLUMN track_clicks boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN domains.track_opens IS 'Of mail that does not say, in a stream that does not either.';
