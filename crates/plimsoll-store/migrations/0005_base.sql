-- What stands in for the rows of the log that were pruned.

-- The state of a partition after the row at `position`, in the slices of a checkpoint. Complete once
-- it has its head, slice 0, which is written last. `at` is when the machine had come so far;
-- `stamped_at` the latest stamp of any row up to there.
CREATE TABLE base (
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    slice BIGINT NOT NULL,
    at BIGINT NOT NULL,
    stamped_at BIGINT NOT NULL,
    core_version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (partition, position, slice)
);

-- How far a partition's log had come at a time of the machine's clock: rows carry the stamps of
-- their environments, and a sandbox may stand in any year.
CREATE TABLE log_mark (
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (partition, position)
);
