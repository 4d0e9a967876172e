-- All groups of a database share these tables. A revision counts the writes of its group.
CREATE TABLE IF NOT EXISTS parti_bucket (
    name text PRIMARY KEY,
    created bigint NOT NULL,
    revision bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS parti_entry (
    bucket text NOT NULL REFERENCES parti_bucket ON DELETE CASCADE,
    key text NOT NULL COLLATE "C",
    value bytea,
    revision bigint NOT NULL,
    at_ms bigint NOT NULL,
    PRIMARY KEY (bucket, key),
    UNIQUE (bucket, revision)
);

-- A commit is one statement, so that a client which stops in the middle of it holds no lock. An expectation is a
-- revision, -1 for "absent", NULL for "any". The answer is the revision before, -1 without a bucket, -2 if refused.
CREATE OR REPLACE FUNCTION parti_commit(group_name text, new_keys text[], new_values bytea[], expected bigint[])
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
BEGIN
    -- One commit at a time: revisions become visible in their order, and a watch misses none.
    SELECT b.revision INTO before FROM parti_bucket b WHERE b.name = group_name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN -1;
    END IF;
    IF EXISTS (
        SELECT FROM unnest(new_keys, expected) AS w (key, expected)
        LEFT JOIN parti_entry e ON e.bucket = group_name AND e.key = w.key
        WHERE CASE w.expected WHEN -1 THEN e.value IS NOT NULL ELSE w.expected <> coalesce(e.revision, 0) END
    ) THEN
        RETURN -2;
    END IF;
    DELETE FROM parti_entry e WHERE e.bucket = group_name AND e.key = ANY (new_keys);
    INSERT INTO parti_entry
    SELECT group_name, w.key, w.value, before + w.number, extract(epoch FROM clock_timestamp()) * 1000
    FROM unnest(new_keys, new_values) WITH ORDINALITY AS w (key, value, number);
    UPDATE parti_bucket b SET revision = before + cardinality(new_keys) WHERE b.name = group_name;
    PERFORM pg_notify('parti', group_name);
    RETURN before;
END
$$;
