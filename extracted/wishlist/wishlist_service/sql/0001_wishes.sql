-- What visitors keep for later. A visitor is the id of an account, as the proxy vouches for it; a product is the id in
-- the catalog. Slug, name and image are the catalog's words at the moment of keeping, so that a list can be shown while
-- the catalog is away.
CREATE TABLE wish (
    visitor text NOT NULL CHECK (visitor <> ''),
    product bigint NOT NULL CHECK (product > 0),
    slug text NOT NULL,
    name text NOT NULL,
    image text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (visitor, product)
);
CREATE INDEX wish_latest_first ON wish (visitor, kept_at DESC, product DESC);
