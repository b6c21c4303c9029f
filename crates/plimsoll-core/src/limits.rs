//! Every bound of the system, by name.
//!
//! A queue, batch, body, page, retry or concurrency without a bound here is a defect. Backpressure
//! follows from these numbers; none of them is a tuning knob.

/// Bytes of a resource's key, and of a customer's subject.
pub const KEY_BYTES: usize = 256;
/// Bytes of a resource's name.
pub const NAME_BYTES: usize = 256;
/// Entries of a resource's `metadata`.
pub const METADATA_ENTRIES: usize = 50;
/// Bytes of one value in a resource's `metadata`.
pub const METADATA_VALUE_BYTES: usize = 1024;
/// Subjects of one customer.
pub const CUSTOMER_SUBJECTS: usize = 1_000;

/// Events in one request.
pub const BATCH_EVENTS: usize = 10_000;
/// Bytes of a request body to `/v1/events`, after decompression.
pub const EVENTS_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of any other request body, after decompression.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of one event.
pub const EVENT_BYTES: usize = 64 * 1024;
/// Bytes of an event's `id`, `source`, `type` or `subject`.
pub const EVENT_ATTRIBUTE_BYTES: usize = 1024;
/// Nesting of a JSON document that we accept.
pub const JSON_DEPTH: usize = 64;
/// How far an event's `time` may be ahead of its environment's clock.
pub const EVENT_TIME_AHEAD_MS: i64 = 60 * 60 * 1000;
/// How long an event id is remembered, and how old an event's `time` may be.
pub const DEDUPE_WINDOW_MS: i64 = 32 * 24 * 60 * 60 * 1000;

/// Bytes in which a process remembers the identities of events and the filters over sealed ones,
/// all its partitions together.
pub const DEDUPE_MEMORY: usize = 256 * 1024 * 1024;

/// Events that one transaction of a partition gathers, unless a single request holds more.
pub const COMMIT_EVENTS: usize = 32_000;
/// Requests that wait for one partition before new ones are answered 429.
pub const PARTITION_QUEUE: usize = 4_096;
/// Customers that one `Slice` command works off.
pub const SLICE: usize = 1_000;
/// Events after the last checkpoint at which a new one is forced.
pub const TAIL_EVENTS: u64 = 10_000_000;
/// Time that a request which moves a clock waits for everything that becomes due on the way.
pub const CLOCK_SETTLE_TIMEOUT_MS: u64 = 60_000;
/// Notifications that a back-test lists; it counts all.
pub const BACKTEST_ITEMS: usize = 1_000;
/// Back-tests that run at a time.
pub const BACKTESTS: usize = 1;
/// Differences that a verification prints; it counts all.
pub const VERIFY_DIFFERENCES: usize = 100;
/// Customers in one slice of a checkpoint.
pub const CHECKPOINT_SLICE: usize = 4_096;

/// Group-by keys of one meter.
pub const METER_GROUP_KEYS: usize = 8;
/// Filters of one meter.
pub const METER_FILTERS: usize = 8;
/// Values of one filter of a meter.
pub const FILTER_VALUES: usize = 100;
/// Bytes of one value of a filter of a meter.
pub const FILTER_VALUE_BYTES: usize = 256;
/// Different values that one customer's usage of a meter has by a group-by key in one window.
pub const GROUP_VALUES: usize = 1_000;
/// Bytes of the name of a group-by key.
pub const GROUP_KEY_BYTES: usize = 64;
/// Bytes of a group-by value.
pub const GROUP_VALUE_BYTES: usize = 256;
/// Different values that `unique_count` counts of one customer and meter in one window.
pub const UNIQUE_VALUES: usize = 100_000;
/// Buckets with usage that one window of a bucketed meter holds.
pub const WINDOW_BUCKETS: usize = 50_000;
/// Sources that one entitlement is summed from.
pub const ENTITLEMENT_SOURCES: usize = 100;
/// Tiers of one entitlement.
pub const ENTITLEMENT_TIERS: usize = 100;
/// Changes of limits and resets of one entitlement that are still to come, together.
pub const ENTITLEMENT_SCHEDULED: usize = 100;
/// Intervals after which a grant expires.
pub const GRANT_EXPIRATION_COUNT: u32 = 1_000;
/// Grants of one entitlement that have not ended.
pub const ENTITLEMENT_GRANTS: usize = 1_000;

/// Windows of one request for usage, counted in days where they are longer.
pub const USAGE_WINDOWS: usize = 10_000;
/// Rows of an answer with usage that are added up at the same time.
pub const USAGE_ROWS: usize = 100_000;
/// Closed cells that one request for usage looks at.
pub const USAGE_CELLS: usize = 1_000_000;
/// Bytes of closed cells that are read at once.
pub const USAGE_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Customers whose open cells one look into a partition's memory brings.
pub const USAGE_OPEN: usize = 10_000;
/// Customers, groups or values that one request for usage names.
pub const USAGE_NAMES: usize = 1_000;
/// How long ago minutes of usage may begin.
pub const USAGE_MINUTES_MS: i64 = 24 * 60 * 60 * 1000;
/// Bytes of the log, as they are stored, that one request for minutes of usage reads.
pub const USAGE_LOG_BYTES: usize = 64 * 1024 * 1024;

/// Lines of one rule.
pub const RULE_LINES: usize = 20;
/// Channels of one rule.
pub const RULE_CHANNELS: usize = 20;
/// Features, credits or customers in the scope of one rule.
pub const RULE_SCOPE: usize = 1_000;
/// Rules of one environment.
pub const RULES: usize = 10_000;
/// Meters of one environment.
pub const METERS: usize = 10_000;
/// Features of one environment.
pub const FEATURES: usize = 10_000;
/// Channels of one environment.
pub const CHANNELS: usize = 10_000;
/// Entitlements of one customer.
pub const CUSTOMER_ENTITLEMENTS: usize = 1_000;
/// API keys of one environment.
pub const API_KEYS: usize = 1_000;

/// Items of a list page when the request names no `limit`.
pub const PAGE_DEFAULT: usize = 50;
/// Items of a list page at the most.
pub const PAGE: usize = 1_000;

/// Rows of the log that one request looks at before it answers with what it has found.
pub const SCAN_ROWS: usize = 20_000;
/// Bytes of rows of the log, as stored, that one request reads before it does so.
pub const SCAN_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of events on one page of a list, unless the first has more.
pub const EVENTS_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Rows of the log that one read of a scan brings.
pub const SCAN_PAGE_ROWS: usize = 256;
/// Bytes of rows of the log, as stored, that one read of a scan brings, unless one row has more.
pub const SCAN_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How much later than its dedupe window allows an event may be stamped: it was judged before it
/// waited, and the machine's clock may have been set back. Reads by time look so much further.
pub const STAMP_LAG_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// How much earlier than its row's stamp an event can be: what is only kept for late events is
/// dropped after that.
pub const EVENT_LATE_MS: i64 = DEDUPE_WINDOW_MS + STAMP_LAG_MS;

/// Bytes of a webhook URL.
pub const URL_BYTES: usize = 2_048;
/// Secrets of a channel that sign at the same time, old ones included.
pub const CHANNEL_SECRETS: usize = 5;
/// Custom headers of a channel.
pub const CHANNEL_HEADERS: usize = 50;
/// Bytes of a custom header's value.
pub const HEADER_VALUE_BYTES: usize = 4_096;
/// Attempts of one delivery, the first included.
pub const DELIVERY_ATTEMPTS: u32 = 10;
/// Time for one attempt: connection, request, headers and body.
pub const ATTEMPT_TIMEOUT_MS: u64 = 15_000;
/// Time to resolve and connect, inside the attempt's time.
pub const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// Bytes of a receiver's answer that are kept.
pub const RESPONSE_BODY_BYTES: usize = 16 * 1024;
/// Bytes of a receiver's answer that are read before the connection is dropped.
pub const RESPONSE_READ_BYTES: usize = 64 * 1024;
/// Requests in flight to one channel.
pub const LANE_CONCURRENCY: usize = 16;
/// Deliveries of one channel kept in memory; the rest wait in the store.
pub const LANE_QUEUE: usize = 1_024;
/// Requests in flight to all channels.
pub const DISPATCH_CONCURRENCY: usize = 1_024;
/// The longest `Retry-After` that is honoured.
pub const RETRY_AFTER_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a replaced secret still signs.
pub const SECRET_OVERLAP_MS: i64 = 24 * 60 * 60 * 1000;
/// How long an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_MS: i64 = 35 * 24 * 60 * 60 * 1000;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Bytes that the bodies of all requests hold together.
pub const BODIES_BYTES: usize = 512 * 1024 * 1024;
/// Bytes from which on the memory of a body of events is kept to be used again.
pub const KEPT_BODY_BYTES_MIN: usize = 64 * 1024;
/// Bytes of the largest body of events whose memory is kept.
pub const KEPT_BODY_BYTES: usize = 1024 * 1024;
/// Bodies of events whose memory is kept.
pub const KEPT_BODIES: usize = 16;
/// Bytes of the buffers that a thread keeps for writing its next row of usage.
pub const KEPT_ROW_BYTES: usize = 8 * 1024 * 1024;
/// Time in which a request's body must arrive.
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// Bytes of a refused body that are read and thrown away, so that its sender reads the refusal.
pub const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// Time in which that happens.
pub const LINGER_TIMEOUT_MS: u64 = 5_000;
/// Time in which a request's headers must arrive, the wait between two requests included.
pub const HEADERS_TIMEOUT_MS: u64 = 60_000;
/// Headers of one request.
pub const REQUEST_HEADERS: usize = 100;
/// Connections that are served at once; further ones wait to be accepted.
pub const CONNECTIONS: usize = 10_000;
/// How long a stopping server waits for the requests that it is answering.
pub const DRAIN_TIMEOUT_MS: u64 = 20_000;
