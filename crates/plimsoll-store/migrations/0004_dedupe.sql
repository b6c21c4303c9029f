-- Sealed identities of accepted events, sorted and cut into blocks, behind filters.

-- One row a segment. Its number is never used again. `state`: 1 being written, 2 looked at, 3 to be
-- deleted. `block_bits` says into how many blocks the space of hashes is cut: 2 to the power of it.
CREATE TABLE dedupe_segment (
    partition BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    state BIGINT NOT NULL,
    block_bits BIGINT NOT NULL,
    identities BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    oldest_at BIGINT NOT NULL,
    newest_at BIGINT NOT NULL,
    PRIMARY KEY (partition, segment)
);

-- The identities of a segment whose hashes begin with the block's number.
CREATE TABLE dedupe_block (
    partition BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    block BIGINT NOT NULL,
    identities BYTEA NOT NULL,
    PRIMARY KEY (partition, segment, block)
);

-- The filter over some neighbouring blocks of a segment.
CREATE TABLE dedupe_filter (
    partition BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    shard BIGINT NOT NULL,
    cells BYTEA NOT NULL,
    PRIMARY KEY (partition, segment, shard)
);

-- The table `dedupe` stays: segments of version 1 in it are sealed again when a partition is first
-- recovered, and deleted then.
