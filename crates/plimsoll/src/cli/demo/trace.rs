//! LLM usage to replay: generated from a seed, or read from a CSV file.
//!
//! A trace knows when each request came relative to the first one. It is shifted so that the last
//! request is now; nothing in it says who the customer was (`scenario` does).
//!
//! Not here: how fast it is replayed (`replay`).

use std::{fmt, fs, io, path::Path};

use jiff::{civil::DateTime, tz::TimeZone};

use super::dice::Dice;

/// One request to a language model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// Milliseconds after the first request.
    pub(super) offset_ms: i64,
    /// Tokens that went in.
    pub(super) context_tokens: u64,
    /// Tokens that came out.
    pub(super) generated_tokens: u64,
}

/// Requests in the order of their time; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    requests: Vec<Request>,
}

/// The columns that a file must have, in this order.
const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
/// A file is held in memory: more rows than this are refused.
const ROWS_MAX: usize = 2_000_000;
/// The product refuses events older than its dedupe window of 32 days.
const DURATION_MS_MAX: i64 = 31 * 24 * 60 * 60 * 1000;

/// What a generated trace looks like.
const GENERATED_REQUESTS: usize = 20_000;
const GENERATED_DURATION_MS: u64 = 60 * 60 * 1000;

/// Why a file is not a trace. The sentence is for the person who named it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TraceError {
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    #[error("its first line must be {HEADER}")]
    Header,
    #[error("line {line}: {problem}")]
    Row { line: usize, problem: RowProblem },
    #[error("it has no requests")]
    Empty,
    #[error("it has more than {ROWS_MAX} requests")]
    TooManyRows,
    #[error("it covers more than 31 days, and older events are refused")]
    TooLong,
}

/// What is wrong with one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowProblem {
    Columns,
    Time,
    Tokens,
}

impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Columns => "expected three columns",
            Self::Time => "expected a time such as 2023-11-16 18:15:46.6805900",
            Self::Tokens => "expected whole numbers of tokens below a billion",
        })
    }
}

impl Trace {
    /// Reads a file with the columns `TIMESTAMP,ContextTokens,GeneratedTokens`.
    pub(super) fn read(path: &Path) -> Result<Self, TraceError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line.trim_start_matches('\u{feff}')) != Some(HEADER) {
            return Err(TraceError::Header);
        }
        let mut rows = Vec::new();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let row =
                parse_row(line).map_err(|problem| TraceError::Row { line: index + 1, problem })?;
            if rows.len() == ROWS_MAX {
                return Err(TraceError::TooManyRows);
            }
            rows.push(row);
        }
        rows.sort_by_key(|(ms, _, _)| *ms);
        let first_ms = rows.first().ok_or(TraceError::Empty)?.0;
        let requests = rows
            .into_iter()
            .map(|(ms, context_tokens, generated_tokens)| Request {
                offset_ms: ms - first_ms,
                context_tokens,
                generated_tokens,
            })
            .collect();
        let trace = Self { requests };
        if trace.duration_ms() > DURATION_MS_MAX {
            return Err(TraceError::TooLong);
        }
        Ok(trace)
    }

    /// An hour of usage: many small requests and few large ones, busier in the middle.
    pub(super) fn generate(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut requests: Vec<Request> = (0..GENERATED_REQUESTS)
            .map(|_| Request {
                // The mean of two draws is likelier in the middle of the hour.
                offset_ms: i64::midpoint(
                    dice.below(GENERATED_DURATION_MS) as i64,
                    dice.below(GENERATED_DURATION_MS) as i64,
                ),
                context_tokens: tokens(&mut dice, 6),
                generated_tokens: tokens(&mut dice, 4),
            })
            .collect();
        requests.sort_by_key(|it| it.offset_ms);
        let first_ms = requests.first().map_or(0, |it| it.offset_ms);
        for request in &mut requests {
            request.offset_ms -= first_ms;
        }
        Self { requests }
    }

    /// The requests in the order of their time.
    pub(super) fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// From the first request to the last.
    pub(super) fn duration_ms(&self) -> i64 {
        self.requests.last().map_or(0, |it| it.offset_ms)
    }
}

/// Each octave above the smallest is about as likely as the next, except the ends.
fn tokens(dice: &mut Dice, smallest_octave: u64) -> u64 {
    let octave = smallest_octave + dice.below(4) + dice.below(4);
    let base = 1 << octave;
    base + dice.below(base)
}

fn parse_row(line: &str) -> Result<(i64, u64, u64), RowProblem> {
    let mut columns = line.split(',');
    let (Some(time), Some(context), Some(generated), None) =
        (columns.next(), columns.next(), columns.next(), columns.next())
    else {
        return Err(RowProblem::Columns);
    };
    let time: DateTime = time.parse().map_err(|_| RowProblem::Time)?;
    let time = time.to_zoned(TimeZone::UTC).map_err(|_| RowProblem::Time)?;
    let tokens = |column: &str| match column.trim().parse() {
        Ok(tokens) if tokens < 1_000_000_000 => Ok(tokens),
        _ => Err(RowProblem::Tokens),
    };
    Ok((time.timestamp().as_millisecond(), tokens(context)?, tokens(generated)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(offset_ms: i64, context_tokens: u64, generated_tokens: u64) -> Request {
        Request { offset_ms, context_tokens, generated_tokens }
    }

    #[test]
    fn reads_rows_and_shifts_them_to_the_first() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                    2023-11-16 18:15:46.6805900,374,44\n\
                    2023-11-16 18:15:50.9951690,396,109";
        let trace = Trace::parse(text).unwrap();
        assert_eq!(trace.requests(), [row(0, 374, 44), row(4_315, 396, 109)]);
        assert_eq!(trace.duration_ms(), 4_315);
        // A line end after the last row, Windows line ends and another order change nothing.
        assert_eq!(Trace::parse(&format!("{text}\r\n")).unwrap(), trace);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.swap(1, 2);
        assert_eq!(Trace::parse(&lines.join("\r\n")).unwrap(), trace);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let check = |rows: &str, expected: &str| {
            let error = Trace::parse(&format!("{HEADER}\n{rows}")).unwrap_err();
            assert_eq!(error.to_string(), expected, "{rows:?}");
        };
        let time = "2023-11-16 18:15:46.6805900";
        check("", "it has no requests");
        check(&format!("{time},1,2\n{time},1"), "line 3: expected three columns");
        check(&format!("{time},1,2,3"), "line 2: expected three columns");
        check(&format!("{time},1,-2"), "line 2: expected whole numbers of tokens below a billion");
        check("yesterday,1,2", "line 2: expected a time such as 2023-11-16 18:15:46.6805900");
        check(
            &format!("{time},1,2\n2024-11-16 18:15:46,1,2"),
            "it covers more than 31 days, and older events are refused",
        );
        assert!(matches!(Trace::parse("a,b,c\n"), Err(TraceError::Header)));
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let trace = Trace::generate(7);
        assert_eq!(trace, Trace::generate(7));
        assert_ne!(trace, Trace::generate(8));
        assert_eq!(trace.requests().len(), GENERATED_REQUESTS);
        assert_eq!(trace.requests()[0].offset_ms, 0);
        assert!(trace.requests().is_sorted_by_key(|it| it.offset_ms));
        assert!(trace.duration_ms() > 3_000_000 && trace.duration_ms() <= 3_600_000);
    }
}
