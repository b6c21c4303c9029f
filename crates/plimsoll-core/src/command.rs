//! Everything that can stand on a log: usage, catalogue changes, customer changes, slices.
//!
//! A row of the log belongs to one environment and is stamped by its clock. Commands carry all
//! that applying them depends on; nothing is looked up elsewhere.
//!
//! Not here: what they do (`state`), compression and SQL.

use crate::{
    catalog::{feature::Feature, meter::Meter},
    codec::{Corrupt, Reader, Writer},
    entitlement::{Entitlement, grant::Grant, source::Limits},
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, GrantId, MeterId, RuleId},
    quantity::Quantity,
    rule::Rule,
    time::Timestamp,
};

/// What a row of the log holds, as its `kind` column says it. Stored: numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// Accepted usage events.
    Usage,
    /// A change of the catalogue.
    Control,
    /// A change of one customer.
    Customer,
    /// A part of the customers is brought up to date with the catalogue.
    Slice,
    /// Some customers are brought up to date with the time.
    Pulse,
}

impl RowKind {
    /// The stored number.
    pub fn code(self) -> i64 {
        match self {
            Self::Usage => 1,
            Self::Control => 2,
            Self::Customer => 3,
            Self::Slice => 4,
            Self::Pulse => 5,
        }
    }

    /// The kind with this stored number.
    pub fn from_code(code: i64) -> Result<Self, Corrupt> {
        match code {
            1 => Ok(Self::Usage),
            2 => Ok(Self::Control),
            3 => Ok(Self::Customer),
            4 => Ok(Self::Slice),
            5 => Ok(Self::Pulse),
            _ => Err(Corrupt { expected: "a kind of row" }),
        }
    }
}

/// A change of the catalogue; every partition applies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlCommand {
    /// A meter was made.
    PutMeter(Meter),
    /// A meter was deleted.
    DeleteMeter(MeterId),
    /// A feature was made or changed.
    PutFeature(Feature),
    /// A feature was deleted.
    DeleteFeature(FeatureId),
    /// A rule was made or changed.
    PutRule(Rule),
    /// A rule was deleted.
    DeleteRule {
        /// Where it was.
        environment: EnvironmentId,
        /// Its id.
        rule: RuleId,
    },
    /// The clock of a sandbox was set. It stands there until it is set again; what becomes due on
    /// the way happens in order. It goes back only while the environment has no events.
    SetClock {
        /// Whose clock.
        environment: EnvironmentId,
        /// What it shows.
        now: Timestamp,
    },
}

/// A change of one customer; the owner of its partition applies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerCommand {
    /// The customer was made.
    Create {
        /// Its id.
        customer: CustomerId,
    },
    /// The customer was deleted, with its entitlements.
    Delete {
        /// Its id.
        customer: CustomerId,
    },
    /// An entitlement was made, or its terms changed. Its usage period never changes, but for the
    /// anchor of a billing cycle.
    PutEntitlement {
        /// Whose it is.
        customer: CustomerId,
        /// The entitlement as it is now.
        entitlement: Entitlement,
    },
    /// An entitlement was deleted.
    DeleteEntitlement {
        /// Whose it was.
        customer: CustomerId,
        /// Its id.
        entitlement: EntitlementId,
    },
    /// A grant was put into an entitlement. It is effective at the stamp at the earliest.
    PutGrant {
        /// Whose it is.
        customer: CustomerId,
        /// Which entitlement.
        entitlement: EntitlementId,
        /// The grant.
        grant: Grant,
    },
    /// What is left of a grant ends, at the stamp at the earliest.
    VoidGrant {
        /// Whose it is.
        customer: CustomerId,
        /// Which entitlement.
        entitlement: EntitlementId,
        /// The grant.
        grant: GrantId,
        /// When.
        at: Timestamp,
    },
    /// Usage starts again at zero, at the stamp at the earliest.
    ResetEntitlement {
        /// Whose it is.
        customer: CustomerId,
        /// Which entitlement.
        entitlement: EntitlementId,
        /// When and how.
        reset: ManualReset,
    },
    /// The limits and tiers change, at the stamp at the earliest.
    ChangeLimits {
        /// Whose they are.
        customer: CustomerId,
        /// Which entitlement.
        entitlement: EntitlementId,
        /// The limits from then on.
        limits: Limits,
        /// The finite upper bounds of the tiers from then on, ascending.
        tiers: Vec<Quantity>,
        /// When.
        at: Timestamp,
    },
}

/// How usage starts again at zero because someone says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManualReset {
    /// When.
    pub at: Timestamp,
    /// Whether the next period still begins when it would have; else a whole one begins now.
    pub retains_anchor: bool,
    /// Whether what was used beyond the limit counts in the new window; absent means as the
    /// entitlement's terms say.
    pub preserves_overage: Option<bool>,
}

/// Any command but usage, as it stands in a log row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// See [`ControlCommand`].
    Control {
        /// Its place in the order of all catalogue changes.
        seq: u64,
        /// What changed.
        command: ControlCommand,
    },
    /// See [`CustomerCommand`].
    Customer {
        /// Whose clock stamped the row.
        environment: EnvironmentId,
        /// When.
        stamped_at: Timestamp,
        /// What changed.
        command: CustomerCommand,
    },
    /// The customers of an environment in these slots are brought up to date with the catalogue.
    Slice {
        /// Whose customers.
        environment: EnvironmentId,
        /// When.
        stamped_at: Timestamp,
        /// The first slot.
        from: u32,
        /// The slot after the last.
        to: u32,
    },
    /// The customers in these slots are brought up to date with the time of the stamp.
    Pulse {
        /// Whose customers.
        environment: EnvironmentId,
        /// The time.
        stamped_at: Timestamp,
        /// Their slots, in the order in which something becomes due.
        slots: Vec<u32>,
    },
}

impl Command {
    /// The kind of row that holds this command.
    pub fn row_kind(&self) -> RowKind {
        match self {
            Self::Control { .. } => RowKind::Control,
            Self::Customer { .. } => RowKind::Customer,
            Self::Slice { .. } => RowKind::Slice,
            Self::Pulse { .. } => RowKind::Pulse,
        }
    }

    /// Writes the command as the payload of its row.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Control { seq, command } => {
                writer.number(*seq);
                command.write(&mut writer);
            }
            Self::Customer { environment, stamped_at, command } => {
                writer.bits(environment.bits());
                writer.time(*stamped_at);
                command.write(&mut writer);
            }
            Self::Slice { environment, stamped_at, from, to } => {
                writer.bits(environment.bits());
                writer.time(*stamped_at);
                writer.number(u64::from(*from));
                writer.number(u64::from(*to));
            }
            Self::Pulse { environment, stamped_at, slots } => {
                writer.bits(environment.bits());
                writer.time(*stamped_at);
                writer.list(slots.iter(), |writer, it| writer.number(u64::from(*it)));
            }
        }
        writer.into_bytes()
    }

    /// Reads the payload of a row of this kind; usage rows have their own form.
    pub fn decode(kind: RowKind, bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(bytes);
        let command = match kind {
            RowKind::Usage => return Err(Corrupt { expected: "a row other than usage" }),
            RowKind::Control => {
                Self::Control { seq: reader.number()?, command: ControlCommand::read(&mut reader)? }
            }
            RowKind::Customer => Self::Customer {
                environment: EnvironmentId::from_bits(reader.bits()?),
                stamped_at: reader.time()?,
                command: CustomerCommand::read(&mut reader)?,
            },
            RowKind::Slice => Self::Slice {
                environment: EnvironmentId::from_bits(reader.bits()?),
                stamped_at: reader.time()?,
                from: reader.number_u32()?,
                to: reader.number_u32()?,
            },
            RowKind::Pulse => Self::Pulse {
                environment: EnvironmentId::from_bits(reader.bits()?),
                stamped_at: reader.time()?,
                slots: reader.list(Reader::number_u32)?,
            },
        };
        reader.finish()?;
        Ok(command)
    }
}

impl ControlCommand {
    /// Writes the command as the store's `control` table keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Reads what [`ControlCommand::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(bytes);
        let command = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(command)
    }

    /// The environment whose rules it changes, if it changes rules.
    pub(crate) fn rule_environment(&self) -> Option<EnvironmentId> {
        match self {
            Self::PutRule(rule) => Some(rule.environment),
            Self::DeleteRule { environment, .. } => Some(*environment),
            Self::PutMeter(_)
            | Self::DeleteMeter(_)
            | Self::PutFeature(_)
            | Self::DeleteFeature(_)
            | Self::SetClock { .. } => None,
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::PutMeter(meter) => {
                writer.byte(6);
                meter.encode(writer);
            }
            Self::DeleteMeter(id) => {
                writer.byte(1);
                writer.bits(id.bits());
            }
            Self::PutFeature(feature) => {
                writer.byte(2);
                feature.encode(writer);
            }
            Self::DeleteFeature(id) => {
                writer.byte(3);
                writer.bits(id.bits());
            }
            Self::PutRule(rule) => {
                writer.byte(7);
                rule.encode(writer);
            }
            Self::DeleteRule { environment, rule } => {
                writer.byte(5);
                writer.bits(environment.bits());
                writer.bits(rule.bits());
            }
            Self::SetClock { environment, now } => {
                writer.byte(8);
                writer.bits(environment.bits());
                writer.time(*now);
            }
        }
    }

    /// A tag stands for one layout: 0 and 4 are meters and rules as version 1 wrote them.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        match reader.byte()? {
            0 => reader.as_version(1, Meter::decode).map(Self::PutMeter),
            1 => reader.bits().map(|it| Self::DeleteMeter(MeterId::from_bits(it))),
            2 => Feature::decode(reader).map(Self::PutFeature),
            3 => reader.bits().map(|it| Self::DeleteFeature(FeatureId::from_bits(it))),
            4 => reader.as_version(1, Rule::decode).map(Self::PutRule),
            5 => Ok(Self::DeleteRule {
                environment: EnvironmentId::from_bits(reader.bits()?),
                rule: RuleId::from_bits(reader.bits()?),
            }),
            6 => Meter::decode(reader).map(Self::PutMeter),
            7 => Rule::decode(reader).map(Self::PutRule),
            8 => Ok(Self::SetClock {
                environment: EnvironmentId::from_bits(reader.bits()?),
                now: reader.time()?,
            }),
            _ => Err(Corrupt { expected: "a change of the catalogue" }),
        }
    }
}

impl CustomerCommand {
    /// Whose change it is.
    pub fn customer(&self) -> CustomerId {
        match self {
            Self::Create { customer }
            | Self::Delete { customer }
            | Self::PutEntitlement { customer, .. }
            | Self::DeleteEntitlement { customer, .. }
            | Self::PutGrant { customer, .. }
            | Self::VoidGrant { customer, .. }
            | Self::ResetEntitlement { customer, .. }
            | Self::ChangeLimits { customer, .. } => *customer,
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.byte(match self {
            Self::Create { .. } => 0,
            Self::Delete { .. } => 1,
            Self::PutEntitlement { .. } => 2,
            Self::DeleteEntitlement { .. } => 3,
            Self::PutGrant { .. } => 4,
            Self::VoidGrant { .. } => 5,
            Self::ResetEntitlement { .. } => 6,
            Self::ChangeLimits { .. } => 7,
        });
        writer.bits(self.customer().bits());
        match self {
            Self::Create { .. } | Self::Delete { .. } => {}
            Self::PutEntitlement { entitlement, .. } => entitlement.encode(writer),
            Self::DeleteEntitlement { entitlement, .. } => writer.bits(entitlement.bits()),
            Self::PutGrant { entitlement, grant, .. } => {
                writer.bits(entitlement.bits());
                grant.encode(writer);
            }
            Self::VoidGrant { entitlement, grant, at, .. } => {
                writer.bits(entitlement.bits());
                writer.bits(grant.bits());
                writer.time(*at);
            }
            Self::ResetEntitlement { entitlement, reset, .. } => {
                writer.bits(entitlement.bits());
                reset.encode(writer);
            }
            Self::ChangeLimits { entitlement, limits, tiers, at, .. } => {
                writer.bits(entitlement.bits());
                limits.encode(writer);
                writer.list(tiers.iter(), |writer, it| writer.quantity(*it));
                writer.time(*at);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let tag = reader.byte()?;
        let customer = CustomerId::from_bits(reader.bits()?);
        match tag {
            0 => return Ok(Self::Create { customer }),
            1 => return Ok(Self::Delete { customer }),
            2 => {
                let entitlement = Entitlement::decode(reader)?;
                return Ok(Self::PutEntitlement { customer, entitlement });
            }
            _ => {}
        }
        let entitlement = EntitlementId::from_bits(reader.bits()?);
        Ok(match tag {
            3 => Self::DeleteEntitlement { customer, entitlement },
            4 => Self::PutGrant { customer, entitlement, grant: Grant::decode(reader)? },
            5 => {
                let grant = GrantId::from_bits(reader.bits()?);
                Self::VoidGrant { customer, entitlement, grant, at: reader.time()? }
            }
            6 => {
                let reset = ManualReset::decode(reader)?;
                Self::ResetEntitlement { customer, entitlement, reset }
            }
            7 => {
                let (limits, tiers) = (Limits::decode(reader)?, reader.list(Reader::quantity)?);
                Self::ChangeLimits { customer, entitlement, limits, tiers, at: reader.time()? }
            }
            _ => return Err(Corrupt { expected: "a change of a customer" }),
        })
    }
}

impl ManualReset {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.time(self.at);
        writer.byte(u8::from(self.retains_anchor));
        writer.option(self.preserves_overage, |writer, it| writer.byte(u8::from(it)));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            at: reader.time()?,
            retains_anchor: reader.flag()?,
            preserves_overage: reader.option(Reader::flag)?,
        })
    }
}
