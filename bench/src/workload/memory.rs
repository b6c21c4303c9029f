//! Memory of customers: resident size before and after they are made, with three entitlements each.
//!
//! They are made over the API, which takes a minute for a hundred thousand. The figure is the
//! memory of one of the later half, when the caches of the database and of the allocator are full;
//! that of a million follows in proportion.
//!
//! Not here: what ingest adds (`rss`).

use std::time::Duration;

use super::ingest::{EVENT_TYPE, FEATURE, PERCENTAGES};
use crate::{
    Failure, machine,
    options::Bench,
    product::Product,
    report::Figure,
    setup::{self, Api},
};

/// Features that each customer is entitled to.
const FEATURES: [&str; 3] = [FEATURE, "requests", "seats"];
const LIMIT: u64 = 100_000;
const MIB: f64 = 1_048_576.0;
/// Long enough for what making them left behind to be done.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures the memory that customers take.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let options = &options.with_many_customers();
    let product = Product::start(options).await?;
    let mut api = Api::open(product.address).await?;
    // Nobody listens there: the lines are never reached.
    let channel = api.channel("bench", "http://127.0.0.1:59999/").await?;
    for feature in FEATURES {
        api.meter_and_feature(feature, EVENT_TYPE).await?;
        api.rule(feature, "usage_percentage", &PERCENTAGES, &channel, None).await?;
    }
    machine::sleep(SETTLE).await;
    let idle = resident_kib(&product)?;
    let (first, second) = (options.customers() / 2, options.customers().div_ceil(2));
    let begun = machine::now();
    make(&product, "a", first).await?;
    let before = resident_kib(&product)?;
    make(&product, "b", second).await?;
    let after = resident_kib(&product)?;
    let made_s = begun.elapsed().as_secs_f64();
    product.stop().await?;
    let one = (after.saturating_sub(before)) as f64 * 1024.0 / f64::from(second);
    let million = one * 1e6 / MIB + mib(before) - one * f64::from(first) / MIB;
    let figure = Figure::new("memory of a customer, three entitlements", one, "bytes")
        .of_customers(options.customers())
        .with("idle MiB", mib(idle))
        .with("after half MiB", mib(before))
        .with("after MiB", mib(after))
        .with("all of it with a million MiB", million)
        .with("made in s", made_s);
    Ok(vec![figure])
}

/// Makes customers with three entitlements each, and waits until what that left behind is done.
async fn make(product: &Product, prefix: &str, count: u32) -> Result<(), Failure> {
    setup::customers(product.address, prefix, count, FEATURE, Some(LIMIT)).await?;
    for feature in &FEATURES[1..] {
        setup::entitlements(product.address, prefix, count, feature, Some(LIMIT)).await?;
    }
    machine::sleep(SETTLE).await;
    Ok(())
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn resident_kib(product: &Product) -> Result<u64, Failure> {
    let (now, _) = machine::resident_kib(product.process()).ok_or("/proc has no such process")?;
    Ok(now)
}
