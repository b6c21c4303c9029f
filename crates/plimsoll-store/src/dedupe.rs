//! Identities of accepted events that are sealed: segments, their blocks, and filters over them.
//!
//! A segment holds sorted hashes, cut into blocks by their first bits, so that whoever looks for
//! one hash reads one block. A filter covers some neighbouring blocks: a shard. Both are small rows
//! of bytes, addressed by segment and place; a [`Kind`] says which of the two is meant.
//!
//! Not here: what the bytes say, and when something is sealed, merged or forgotten (the engine);
//! segments of the first schema (`unsorted`).

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
};

pub mod unsorted;

/// The name of the statement that begins a segment. It is refused as
/// [`Refusal::Unique`](crate::store::Refusal::Unique) if someone else has used its number.
pub const BEGIN: &str = "dedupe.begin";

/// How far a segment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// It is being written. Found after a crash, it is worth nothing.
    Building,
    /// It is complete.
    Live,
    /// Its blocks and filters are being deleted.
    Dead,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// Which partition.
    pub partition: u32,
    /// Its number, used once.
    pub segment: i64,
    /// How far it has come.
    pub state: SegmentState,
    /// The space of hashes is cut into 2 to the power of this many blocks.
    pub block_bits: u32,
    /// How many identities it holds.
    pub identities: u64,
    /// Identities of log rows up to this position are in this segment or in others.
    pub last_position: i64,
    /// When the oldest of its identities was accepted, or earlier.
    pub oldest_at: Timestamp,
    /// When the newest of its identities was accepted, or later.
    pub newest_at: Timestamp,
}

/// What a piece of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sorted identities.
    Block,
    /// The filter over a shard.
    Filter,
}

/// A block or a filter of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of which segment.
    pub segment: i64,
    /// The number of the block or of the shard.
    pub place: u32,
    /// What the engine has written.
    pub bytes: Bytes,
}

/// The texts about one kind of piece.
///
/// SQLite takes the tables of a `CROSS JOIN` in the order in which they stand: the few places
/// first, then one look into the index for each.
struct Texts {
    put: (&'static str, &'static str),
    find: (&'static str, &'static str),
    range: (&'static str, &'static str),
    delete: (&'static str, &'static str),
}

const BLOCK: Texts = Texts {
    put: ("dedupe.put_blocks", "INSERT INTO dedupe_block (partition, segment, block, identities)"),
    find: (
        "dedupe.find_blocks",
        "SELECT t.segment, t.block, t.identities FROM v CROSS JOIN dedupe_block t \
         WHERE t.partition = v.partition AND t.segment = v.segment AND t.block = v.place",
    ),
    range: (
        "dedupe.read_blocks",
        "SELECT segment, block, identities FROM dedupe_block WHERE partition = $1 \
         AND segment = $2 AND block >= $3 AND block < $4 ORDER BY block",
    ),
    delete: (
        "dedupe.delete_blocks",
        "DELETE FROM dedupe_block \
         WHERE partition = $1 AND segment = $2 AND block >= $3 AND block < $4",
    ),
};

const FILTER: Texts = Texts {
    put: ("dedupe.put_filters", "INSERT INTO dedupe_filter (partition, segment, shard, cells)"),
    find: (
        "dedupe.find_filters",
        "SELECT t.segment, t.shard, t.cells FROM v CROSS JOIN dedupe_filter t \
         WHERE t.partition = v.partition AND t.segment = v.segment AND t.shard = v.place",
    ),
    range: (
        "dedupe.read_filters",
        "SELECT segment, shard, cells FROM dedupe_filter WHERE partition = $1 \
         AND segment = $2 AND shard >= $3 AND shard < $4 ORDER BY shard",
    ),
    delete: (
        "dedupe.delete_filters",
        "DELETE FROM dedupe_filter \
         WHERE partition = $1 AND segment = $2 AND shard >= $3 AND shard < $4",
    ),
};

impl Kind {
    const fn texts(self) -> &'static Texts {
        match self {
            Self::Block => &BLOCK,
            Self::Filter => &FILTER,
        }
    }
}

impl SegmentState {
    const fn code(self) -> i64 {
        match self {
            Self::Building => 1,
            Self::Live => 2,
            Self::Dead => 3,
        }
    }

    fn from_row(row: &Row, column: usize) -> Result<Self, MalformedRow> {
        match row.get_int(column)? {
            1 => Ok(Self::Building),
            2 => Ok(Self::Live),
            3 => Ok(Self::Dead),
            _ => Err(row.malformed(column, "the state of a segment")),
        }
    }
}

/// Begins a segment. Refused under the name [`BEGIN`] if its number has been used.
pub fn begin(row: &SegmentRow) -> Statement {
    Statement::new(
        BEGIN,
        "INSERT INTO dedupe_segment (partition, segment, state, block_bits, identities, \
         last_position, oldest_at, newest_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params_of(row),
    )
}

/// Writes what has become of a segment that was begun.
pub fn update(row: &SegmentRow) -> Statement {
    Statement::new(
        "dedupe.update",
        "UPDATE dedupe_segment SET state = $3, block_bits = $4, identities = $5, \
         last_position = $6, oldest_at = $7, newest_at = $8 \
         WHERE partition = $1 AND segment = $2",
        params_of(row),
    )
}

fn params_of(row: &SegmentRow) -> Vec<crate::value::Value> {
    vec![
        row.partition.into(),
        row.segment.into(),
        row.state.code().into(),
        row.block_bits.into(),
        (row.identities as i64).into(),
        row.last_position.into(),
        row.oldest_at.into(),
        row.newest_at.into(),
    ]
}

/// Deletes the row of a segment whose pieces are gone.
pub fn delete(partition: u32, segment: i64) -> Statement {
    Statement::new(
        "dedupe.delete",
        "DELETE FROM dedupe_segment WHERE partition = $1 AND segment = $2",
        vec![partition.into(), segment.into()],
    )
}

/// Writes pieces of one kind that are not there yet.
pub fn put_pieces(kind: Kind, partition: u32, pieces: Vec<Piece>) -> Vec<Statement> {
    let (name, text) = kind.texts().put;
    let rows = pieces
        .into_iter()
        .map(|it| [partition.into(), it.segment.into(), it.place.into(), it.bytes.into()])
        .collect();
    multirow::insert(name, text, "", rows)
}

/// Deletes the pieces of a segment from one place up to, and without, another.
pub fn delete_pieces(
    kind: Kind,
    partition: u32,
    segment: i64,
    (from, until): (u32, u32),
) -> Statement {
    let (name, text) = kind.texts().delete;
    Statement::new(name, text, vec![partition.into(), segment.into(), from.into(), until.into()])
}

/// The segments of a partition, by number. There are few: they are merged as they become more.
pub async fn segments(store: &dyn Store, partition: u32) -> Result<Vec<SegmentRow>, ReadError> {
    let rows = store
        .query(Statement::new(
            "dedupe.segments",
            "SELECT partition, segment, state, block_bits, identities, last_position, oldest_at, \
             newest_at FROM dedupe_segment WHERE partition = $1 ORDER BY segment",
            vec![partition.into()],
        ))
        .await?;
    Ok(rows.iter().map(segment_from_row).collect::<Result<_, _>>()?)
}

fn segment_from_row(row: &Row) -> Result<SegmentRow, MalformedRow> {
    Ok(SegmentRow {
        partition: row.get_u32(0)?,
        segment: row.get_int(1)?,
        state: SegmentState::from_row(row, 2)?,
        block_bits: row.get_u32(3)?,
        identities: u64::try_from(row.get_int(4)?)
            .map_err(|_| row.malformed(4, "integer that is not negative"))?,
        last_position: row.get_int(5)?,
        oldest_at: row.get_time(6)?,
        newest_at: row.get_time(7)?,
    })
}

/// Reads the pieces at these places, given as segment and place, in any order. What is not there
/// is left out.
///
/// The answer holds all of them: the caller asks for a bounded number.
pub async fn find_pieces(
    store: &dyn Store,
    kind: Kind,
    partition: u32,
    places: &[(i64, u32)],
) -> Result<Vec<Piece>, ReadError> {
    let (name, text) = kind.texts().find;
    let rows = places
        .iter()
        .map(|(segment, place)| [partition.into(), (*segment).into(), (*place).into()])
        .collect();
    let relation = "v (partition, segment, place)";
    let mut pieces = Vec::with_capacity(places.len());
    for statement in multirow::with(name, relation, ["BIGINT"; 3], text, rows) {
        for row in store.query(statement).await? {
            pieces.push(piece_from_row(&row)?);
        }
    }
    Ok(pieces)
}

/// Reads the pieces of a segment from one place up to, and without, another, in order.
pub async fn read_pieces(
    store: &dyn Store,
    kind: Kind,
    partition: u32,
    segment: i64,
    (from, until): (u32, u32),
) -> Result<Vec<Piece>, ReadError> {
    let (name, text) = kind.texts().range;
    let params = vec![partition.into(), segment.into(), from.into(), until.into()];
    let rows = store.query(Statement::new(name, text, params)).await?;
    Ok(rows.iter().map(piece_from_row).collect::<Result<_, _>>()?)
}

fn piece_from_row(row: &Row) -> Result<Piece, MalformedRow> {
    Ok(Piece { segment: row.get_int(0)?, place: row.get_u32(1)?, bytes: row.get_bytes(2)?.clone() })
}
