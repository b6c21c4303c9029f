//! Memory of customers: resident size before and after they are made, with three entitlements each.
//!
//! They are made over the API, which takes a minute for a hundred thousand. The figure is the
//! memory of one, from which that of a million follows: it grows in proportion.
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
    let before = resident_kib(&product)?;
    let count = options.customers();
    let begun = machine::now();
    setup::customers(product.address, "c", count, FEATURE, Some(LIMIT)).await?;
    for feature in &FEATURES[1..] {
        setup::entitlements(product.address, "c", count, feature, Some(LIMIT)).await?;
    }
    let made_s = begun.elapsed().as_secs_f64();
    machine::sleep(SETTLE).await;
    let after = resident_kib(&product)?;
    product.stop().await?;
    let one = (after - before) as f64 * 1024.0 / f64::from(count);
    let figure = Figure::new("memory of a customer, three entitlements", one, "bytes")
        .of_customers(count)
        .with("before MiB", before as f64 / 1024.0)
        .with("after MiB", after as f64 / 1024.0)
        .with("a million of them MiB", one * 1e6 / f64::from(1 << 20))
        .with("made in s", made_s);
    Ok(vec![figure])
}

fn resident_kib(product: &Product) -> Result<u64, Failure> {
    let (now, _) = machine::resident_kib(product.process()).ok_or("/proc has no such process")?;
    Ok(now)
}
