-- Where the streams stood before all rows were compared: what each has applied later is compared again by itself.

alter table strangler.verification
    add column forward pg_lsn,          -- watermark of the stream into the service; null: none that a copy was made under
    add column reverse pg_lsn;          -- of the way back
