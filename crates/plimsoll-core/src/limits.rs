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
/// Different values that one customer's usage of a meter has by a group-by key in one window.
pub const GROUP_VALUES: usize = 1_000;
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
/// Grants of one entitlement that have not ended.
pub const ENTITLEMENT_GRANTS: usize = 1_000;

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
