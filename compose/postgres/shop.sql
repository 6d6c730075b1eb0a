-- The monolith's server: its database, its role, and the sync's.
\set base shop
\set owner shop
\set word `cat /run/secrets/shop_password`
\ir /etc/strangler/database.psql
\set role shop_sync
\set word `cat /run/secrets/shop_sync_password`
\ir /etc/strangler/sync-role.psql
