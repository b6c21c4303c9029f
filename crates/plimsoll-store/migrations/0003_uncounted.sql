-- Events that are stored and that a meter could not count, by the log row that they stand in: at
-- most one row here for a row of the log, written in its transaction.
CREATE TABLE uncounted (
    partition BIGINT NOT NULL,
    position BIGINT NOT NULL,
    environment TEXT NOT NULL,
    stamped_at BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (partition, position)
);
CREATE INDEX uncounted_stamped ON uncounted (environment, partition, stamped_at, position);

-- Usage is found by the time of its acceptance.
CREATE INDEX log_stamped ON log (partition, kind, stamped_at, position);
