-- The services' server: a database and a role each, and the sync's where there is something to sync.
\set base catalog
\set owner catalog
\set word `cat /run/secrets/catalog_password`
\ir /etc/strangler/database.psql
\set role catalog_sync
\set word `cat /run/secrets/catalog_sync_password`
\ir /etc/strangler/sync-role.psql
\set base reviews
\set owner reviews
\set word `cat /run/secrets/reviews_password`
\ir /etc/strangler/database.psql
\set role reviews_sync
\set word `cat /run/secrets/reviews_sync_password`
\ir /etc/strangler/sync-role.psql
\set base wishlist
\set owner wishlist
\set word `cat /run/secrets/wishlist_password`
\ir /etc/strangler/database.psql
