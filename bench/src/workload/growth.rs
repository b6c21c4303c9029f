//! What throughput becomes when there is more of something: customers, rules.
//!
//! Each pair runs on fresh stores, one after the other; the first is the baseline of the second.
//!
//! Not here: memory (`memory`).

use super::ingest;
use crate::{Failure, options::Bench, report::Figure};

const FEW_CUSTOMERS: u32 = 1_000;
const MANY_RULES: u32 = 1_000;

/// Measures ingest with few customers and one rule, with many customers, and with many rules.
pub(crate) async fn run(options: &Bench) -> Result<Vec<Figure>, Failure> {
    let few = Bench { rules: 1, ..options.with_customers(FEW_CUSTOMERS) };
    let many = Bench { rules: 1, ..options.with_many_customers() };
    let ruled = Bench { rules: options.rules.max(MANY_RULES), ..few.clone() };
    let base = named("ingest, few customers, one rule", ingest::measure(&few).await?);
    let many = named("ingest, many customers", ingest::measure(&many).await?);
    let ruled = named("ingest, many rules", ingest::measure(&ruled).await?);
    let (many, ruled) = (many.against(base.value), ruled.against(base.value));
    Ok(vec![base, many, ruled])
}

fn named(name: &str, figure: Figure) -> Figure {
    Figure { name: name.to_owned(), ..figure }
}
