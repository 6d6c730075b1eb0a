-- Categories and products as this service keeps them. Ids are those that the rows have always had.
--
-- Until the service owns them, rows arrive from the other stack in any order and in batches. Therefore: no foreign
-- keys between the two tables (whoever owns the rows checks them), and uniqueness is checked when a transaction
-- ends, because within a batch two rows may exchange a slug.

CREATE TABLE category (
    id bigint PRIMARY KEY,
    parent_id bigint,
    title text NOT NULL,
    slug text NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    position integer NOT NULL CHECK (position >= 0),
    updated_at timestamptz NOT NULL
);
CREATE INDEX category_reading_order ON category (position, id);
CREATE INDEX category_children ON category (parent_id);

CREATE TABLE product (
    id bigint PRIMARY KEY,
    public_id uuid NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    sku text NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    slug text NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    title text NOT NULL,
    description text NOT NULL,
    category_id bigint NOT NULL,
    price_cents bigint NOT NULL CHECK (price_cents >= 0),
    currency text NOT NULL,
    attributes jsonb NOT NULL,
    tags text[] NOT NULL,
    stock integer NOT NULL CHECK (stock >= 0),
    image text CHECK (image <> ''),              -- path below the media root; NULL: none, show the placeholder
    is_published boolean NOT NULL,
    rating_hundredths smallint,                  -- 4.25 stars are 425; NULL: not rated yet
    review_count integer NOT NULL CHECK (review_count >= 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- What readers see, in each order that they can ask for; id breaks ties.
CREATE INDEX product_by_id ON product (id) WHERE is_published;
CREATE INDEX product_by_title ON product (title, id) WHERE is_published;
CREATE INDEX product_by_price ON product (price_cents, id) WHERE is_published;
CREATE INDEX product_by_age ON product (created_at, id) WHERE is_published;
CREATE INDEX product_by_category ON product (category_id, id) WHERE is_published;
CREATE INDEX product_in_stock ON product (id) WHERE is_published AND stock > 0;
-- Last-Modified is the newest change of any row, published or not.
CREATE INDEX product_newest ON product (updated_at);
