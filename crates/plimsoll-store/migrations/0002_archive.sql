-- What has closed and left the memory of a partition. Written in the transaction of the log row that
-- closed it, so it is as exact as the log.

-- Windows of entitlements whose period has ended, for events that come late.
CREATE TABLE closed_window (
    entitlement TEXT NOT NULL,
    window_from BIGINT NOT NULL,
    window_to BIGINT NOT NULL,
    customer TEXT NOT NULL,
    core_version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (entitlement, window_from)
);

-- What one meter measured of one customer in one hour (resolution 0) or day (resolution 1).
CREATE TABLE cell (
    meter TEXT NOT NULL,
    resolution BIGINT NOT NULL,
    customer TEXT NOT NULL,
    from_at BIGINT NOT NULL,
    core_version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (meter, resolution, customer, from_at)
);

-- The same of all customers in one slice of a partition.
CREATE TABLE cell_total (
    meter TEXT NOT NULL,
    resolution BIGINT NOT NULL,
    from_at BIGINT NOT NULL,
    partition BIGINT NOT NULL,
    slice BIGINT NOT NULL,
    core_version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (meter, resolution, from_at, partition, slice)
);

-- Stretches in which the same grants of an entitlement burned.
CREATE TABLE segment (
    entitlement TEXT NOT NULL,
    from_at BIGINT NOT NULL,
    to_at BIGINT NOT NULL,
    core_version BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (entitlement, from_at)
);
