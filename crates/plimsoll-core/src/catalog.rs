//! What is sold and how it is measured: meters, features, and the rules that watch them.
//!
//! A partition keeps its own copy, filled from `Control` commands on its log, so that replay sees
//! the catalogue as it was at each position.
//!
//! Not here: names, descriptions and metadata for people (the store keeps the documents).

use std::{collections::BTreeMap, sync::Arc};

pub mod feature;
pub mod meter;
mod moments;

use crate::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::Meter,
        moments::Moments,
    },
    codec::{Corrupt, Reader, Writer},
    command::ControlCommand,
    ids::{EnvironmentId, FeatureId, LineId, MeterId, RuleId},
    line::Line,
    rule::Rule,
    time::Timestamp,
};

/// One line of one rule, with what is needed to know why it begins to apply to someone.
#[derive(Debug, Clone)]
pub struct StandingLine {
    /// The rule it stands in.
    pub rule: Arc<Rule>,
    /// The line itself.
    pub line: Line,
    /// Control sequence at which it entered its rule; unknown to a customer behind that.
    pub entered: u64,
    /// Control sequence since which it applies; a customer behind that evaluates it anew.
    pub since: u64,
    /// What made it apply at `since`.
    pub because: LineOrigin,
}

impl StandingLine {
    /// Whether it stands on this part of an entitlement's usage: the usage that has this value for
    /// this group-by key, or all of it.
    pub fn stands_on(&self, group: Option<(&str, &str)>) -> bool {
        match (&self.line.group, group) {
            (None, None) => true,
            (Some(own), Some((key, value))) => {
                *own.key == *key && own.value.as_deref().is_none_or(|it| it == value)
            }
            _ => false,
        }
    }
}

/// What made a line begin to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOrigin {
    /// Its rule was made.
    RuleCreated,
    /// Its rule was enabled again.
    RuleEnabled,
    /// It was added to a rule that existed.
    LineAdded,
    /// Its rule began to cover more features or customers.
    ScopeChanged,
}

#[derive(Debug, Clone, Copy)]
struct Origin {
    entered: u64,
    since: u64,
    because: LineOrigin,
}

/// The catalogue as of one position of the log.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The last control sequence that was applied.
    seq: u64,
    /// The last control sequence that changed any line.
    lines_seq: u64,
    meters: BTreeMap<MeterId, Arc<Meter>>,
    features: BTreeMap<FeatureId, Arc<Feature>>,
    rules: BTreeMap<RuleId, Arc<Rule>>,
    origins: BTreeMap<LineId, Origin>,
    /// When lines changed, as far as late events may ask.
    moments: Moments,
    /// Derived: the meters of an event type.
    by_event_type: BTreeMap<EnvironmentId, BTreeMap<Box<str>, Vec<Arc<Meter>>>>,
    /// Derived: the lines that may concern a feature.
    by_feature: BTreeMap<FeatureId, Arc<[StandingLine]>>,
}

impl Catalog {
    /// The last control sequence that was applied; zero before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last control sequence that changed any line.
    pub fn lines_seq(&self) -> u64 {
        self.lines_seq
    }

    /// The meters that measure events of this type.
    pub fn meters_of(&self, environment: EnvironmentId, event_type: &str) -> &[Arc<Meter>] {
        self.by_event_type
            .get(&environment)
            .and_then(|it| it.get(event_type))
            .map_or(&[], Vec::as_slice)
    }

    /// The feature with this id.
    pub fn feature(&self, id: FeatureId) -> Option<&Arc<Feature>> {
        self.features.get(&id)
    }

    /// The meter with this id.
    pub fn meter(&self, id: MeterId) -> Option<&Arc<Meter>> {
        self.meters.get(&id)
    }

    /// Every rule, in the order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// The meter that measures a feature, if it is metered.
    pub fn meter_of(&self, feature: FeatureId) -> Option<&Arc<Meter>> {
        match self.features.get(&feature)?.kind {
            FeatureKind::Metered { meter } => self.meters.get(&meter),
            FeatureKind::Boolean | FeatureKind::Static => None,
        }
    }

    /// The lines that may concern entitlements of a feature, whoever the customer.
    pub fn lines_of(&self, feature: FeatureId) -> Option<&Arc<[StandingLine]>> {
        self.by_feature.get(&feature)
    }

    /// Whether a line with this id still stands in some rule.
    pub fn has_line(&self, line: LineId) -> bool {
        self.origins.contains_key(&line)
    }

    /// Up to which control sequence lines were known when a window of this environment closed.
    pub(crate) fn lines_seq_at(&self, environment: EnvironmentId, closed_at: Timestamp) -> u64 {
        self.moments.lines_seq_at(environment, closed_at).unwrap_or(self.lines_seq)
    }

    /// A row of the environment has this stamp: what has changed counts from then on.
    pub(crate) fn stamp(&mut self, environment: EnvironmentId, at: Timestamp) {
        self.moments.stamp(environment, at);
    }

    /// The clock of an environment went back: all that there is has always been there.
    pub(crate) fn forget_moments(&mut self, environment: EnvironmentId) {
        self.moments.forget(environment);
    }

    /// Applies one change of the catalogue.
    pub(crate) fn apply(&mut self, seq: u64, command: &ControlCommand) {
        self.seq = seq;
        if let Some(environment) = command.rule_environment() {
            self.moments.change(environment, self.lines_seq);
        }
        match command {
            ControlCommand::PutMeter(meter) => {
                self.meters.insert(meter.id, Arc::new(meter.clone()));
                self.index_meters();
            }
            ControlCommand::DeleteMeter(id) => {
                self.meters.remove(id);
                self.index_meters();
            }
            ControlCommand::PutFeature(feature) => {
                self.by_feature.insert(feature.id, self.find_lines(feature));
                self.features.insert(feature.id, Arc::new(feature.clone()));
            }
            ControlCommand::DeleteFeature(id) => {
                self.features.remove(id);
                self.by_feature.remove(id);
            }
            ControlCommand::PutRule(rule) => self.put_rule(seq, rule),
            // The state keeps the clocks.
            ControlCommand::SetClock { .. } => {}
            ControlCommand::DeleteRule { rule, .. } => {
                if let Some(rule) = self.rules.remove(rule) {
                    for line in &rule.lines {
                        self.origins.remove(&line.id);
                    }
                }
                self.lines_seq = seq;
                self.index_lines();
            }
        }
    }

    fn put_rule(&mut self, seq: u64, rule: &Rule) {
        let before = self.rules.insert(rule.id, Arc::new(rule.clone()));
        for line in before.iter().flat_map(|it| &it.lines) {
            if !rule.lines.iter().any(|it| it.id == line.id) {
                self.origins.remove(&line.id);
            }
        }
        for line in &rule.lines {
            let because = match &before {
                None => Some(LineOrigin::RuleCreated),
                Some(_) if !self.origins.contains_key(&line.id) => Some(LineOrigin::LineAdded),
                Some(before) if before.disabled && !rule.disabled => Some(LineOrigin::RuleEnabled),
                Some(before) if !before.covers_the_same(rule) => Some(LineOrigin::ScopeChanged),
                Some(_) => None,
            };
            if let Some(because) = because {
                let entered = self.origins.get(&line.id).map_or(seq, |it| it.entered);
                self.origins.insert(line.id, Origin { entered, since: seq, because });
            }
        }
        self.lines_seq = seq;
        self.index_lines();
    }

    fn index_meters(&mut self) {
        self.by_event_type.clear();
        for meter in self.meters.values() {
            self.by_event_type
                .entry(meter.environment)
                .or_default()
                .entry(meter.event_type.clone())
                .or_default()
                .push(Arc::clone(meter));
        }
    }

    fn index_lines(&mut self) {
        let lines = self.features.values().map(|it| (it.id, self.find_lines(it)));
        self.by_feature = lines.collect();
    }

    fn find_lines(&self, feature: &Feature) -> Arc<[StandingLine]> {
        let rules = self.rules.values().filter(|it| it.concerns(feature));
        let lines = rules.flat_map(|rule| rule.lines.iter().map(move |line| (rule, line)));
        let standing = lines.filter_map(|(rule, line)| {
            let Origin { entered, since, because } = *self.origins.get(&line.id)?;
            Some(StandingLine {
                rule: Arc::clone(rule),
                line: line.clone(),
                entered,
                since,
                because,
            })
        });
        standing.collect()
    }

    /// Writes the catalogue; what is derived is left out.
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.number(self.seq);
        writer.number(self.lines_seq);
        writer.list(self.meters.values(), |writer, it| it.encode(writer));
        writer.list(self.features.values(), |writer, it| it.encode(writer));
        writer.list(self.rules.values(), |writer, it| it.encode(writer));
        writer.list(self.origins.iter(), |writer, (line, origin)| {
            writer.bits(line.bits());
            writer.number(origin.entered);
            writer.number(origin.since);
            writer.byte(origin.because.tag());
        });
        self.moments.encode(writer);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut catalog =
            Self { seq: reader.number()?, lines_seq: reader.number()?, ..Self::default() };
        let meters = reader.list(Meter::decode)?;
        catalog.meters = meters.into_iter().map(|it| (it.id, Arc::new(it))).collect();
        let features = reader.list(Feature::decode)?;
        catalog.features = features.into_iter().map(|it| (it.id, Arc::new(it))).collect();
        let rules = reader.list(Rule::decode)?;
        catalog.rules = rules.into_iter().map(|it| (it.id, Arc::new(it))).collect();
        let origins = reader.list(|reader| {
            let line = LineId::from_bits(reader.bits()?);
            let (entered, since) = (reader.number()?, reader.number()?);
            Ok((line, Origin { entered, since, because: LineOrigin::from_tag(reader.byte()?)? }))
        })?;
        catalog.origins = origins.into_iter().collect();
        if reader.version() >= 3 {
            catalog.moments = Moments::decode(reader)?;
        }
        catalog.index_meters();
        catalog.index_lines();
        Ok(catalog)
    }
}

impl LineOrigin {
    fn tag(self) -> u8 {
        match self {
            Self::RuleCreated => 0,
            Self::RuleEnabled => 1,
            Self::LineAdded => 2,
            Self::ScopeChanged => 3,
        }
    }

    fn from_tag(tag: u8) -> Result<Self, Corrupt> {
        match tag {
            0 => Ok(Self::RuleCreated),
            1 => Ok(Self::RuleEnabled),
            2 => Ok(Self::LineAdded),
            3 => Ok(Self::ScopeChanged),
            _ => Err(Corrupt { expected: "what made a line apply" }),
        }
    }
}
