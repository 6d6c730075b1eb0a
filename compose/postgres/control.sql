-- The toolkit's own server: the ledger.
\set base strangler
\set owner strangler
\set word `cat /run/secrets/strangler_password`
\ir /etc/strangler/database.psql
