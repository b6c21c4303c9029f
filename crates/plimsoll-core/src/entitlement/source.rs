//! Sources: where the limits of an entitlement come from, and what they add up to.
//!
//! Not here: grants, which add to the limits of a period (`entitlement::grant`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    quantity::{Overflow, Quantity},
};

/// One thing that an entitlement is summed from: a plan, an addon, a subscription, the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name among the sources of the entitlement.
    pub key: &'a str,
    /// How many times it counts: an addon bought three times.
    pub quantity: u32,
    /// What it allows; nothing is unlimited.
    pub hard: Option<Quantity>,
    /// What may be used before someone is told; nothing is the same as `hard`.
    pub soft: Option<Quantity>,
    /// The source that it replaces.
    pub overrides: Option<&'a str>,
}

/// What the sources add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The hard limit: nothing is unlimited, zero is nothing allowed.
    pub hard: Option<Quantity>,
    /// The soft limit, if there is one.
    pub soft: Option<Quantity>,
}

impl Limits {
    /// A hard limit alone, or none.
    pub fn hard(limit: Option<Quantity>) -> Self {
        Self { hard: limit, soft: None }
    }

    /// The sum of the sources that no other one replaces, each as often as its quantity says.
    ///
    /// Where one of them is unlimited, there is no hard limit. There is a soft limit where one of
    /// them has one; the others then add their hard limits to it.
    pub fn of_sources(sources: &[Source<'_>]) -> Result<Self, Overflow> {
        let replaced = |key: &str| sources.iter().any(|it| it.overrides == Some(key));
        let counted: Vec<_> = sources.iter().filter(|it| !replaced(it.key)).collect();
        let sum = |what: &dyn Fn(&Source<'_>) -> Option<Quantity>| {
            let mut total = Some(Quantity::ZERO);
            for source in &counted {
                total = match (total, what(source)) {
                    (Some(total), Some(limit)) => {
                        Some(total.checked_add(limit.times(u64::from(source.quantity))?)?)
                    }
                    _ => None,
                };
            }
            Ok(total)
        };
        if counted.is_empty() {
            return Ok(Self::default());
        }
        let is_soft = counted.iter().any(|it| it.soft.is_some());
        Ok(Self {
            hard: sum(&|it| it.hard)?,
            soft: if is_soft { sum(&|it| it.soft.or(it.hard))? } else { None },
        })
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.option(self.hard, Writer::quantity);
        writer.option(self.soft, Writer::quantity);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { hard: reader.option(Reader::quantity)?, soft: reader.option(Reader::quantity)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `key=hard/soft*quantity<overridden`, where `-` is none.
    fn source(text: &'static str) -> Source<'static> {
        let (text, overrides) = text.split_once('<').map_or((text, None), |(a, b)| (a, Some(b)));
        let (text, quantity) = text.split_once('*').map_or((text, "1"), |it| it);
        let (key, limits) = text.split_once('=').unwrap();
        let (hard, soft) = limits.split_once('/').unwrap_or((limits, "-"));
        let limit = |text: &str| (text != "-").then(|| text.parse().unwrap());
        let quantity = quantity.parse().unwrap();
        Source { key, quantity, hard: limit(hard), soft: limit(soft), overrides }
    }

    #[test]
    fn sources_add_up() {
        let cases: [(&[&str], &str); 12] = [
            (&["plan=300"], "300 -"),
            (&["plan=300", "addon=100*2"], "500 -"),
            (&["plan=300", "override=50<plan", "addon=100*2"], "250 -"),
            (&["plan=300", "addon=100*0"], "300 -"),
            (&["plan=-", "addon=100"], "- -"),
            (&["plan=-", "override=10<plan"], "10 -"),
            (&["plan=300", "customer=-<plan"], "- -"),
            (&["plan=1000/800"], "1000 800"),
            (&["plan=-/800", "addon=200*2"], "- 1200"),
            (&["plan=-/800", "addon=-"], "- -"),
            (&["plan=0"], "0 -"),
            (&[], "- -"),
        ];
        for (sources, expected) in cases {
            let sources: Vec<_> = sources.iter().map(|it| source(it)).collect();
            let limits = Limits::of_sources(&sources).unwrap();
            let show =
                |it: Option<Quantity>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
            assert_eq!(format!("{} {}", show(limits.hard), show(limits.soft)), expected);
        }
        let most = [source("a=79228162514264337593543950335"), source("b=1")];
        assert_eq!(Limits::of_sources(&most), Err(Overflow));
    }
}
