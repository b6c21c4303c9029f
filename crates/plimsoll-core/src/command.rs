//! Everything that can stand on a log: usage, catalogue changes, customer changes, slices.
//!
//! A row of the log belongs to one environment and is stamped by its clock. Commands carry all
//! that applying them depends on; nothing is looked up elsewhere.
//!
//! Not here: what they do (`state`), compression and SQL.

use crate::{
    catalog::{feature::Feature, meter::Meter},
    codec::{Corrupt, Reader, Writer},
    entitlement::Entitlement,
    ids::{CustomerId, EntitlementId, EnvironmentId, FeatureId, MeterId, RuleId},
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
}

impl RowKind {
    /// The stored number.
    pub fn code(self) -> i64 {
        match self {
            Self::Usage => 1,
            Self::Control => 2,
            Self::Customer => 3,
            Self::Slice => 4,
        }
    }

    /// The kind with this stored number.
    pub fn from_code(code: i64) -> Result<Self, Corrupt> {
        match code {
            1 => Ok(Self::Usage),
            2 => Ok(Self::Control),
            3 => Ok(Self::Customer),
            4 => Ok(Self::Slice),
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
    /// An entitlement was made, or its limit changed. Its usage period never changes.
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
}

impl Command {
    /// The kind of row that holds this command.
    pub fn row_kind(&self) -> RowKind {
        match self {
            Self::Control { .. } => RowKind::Control,
            Self::Customer { .. } => RowKind::Customer,
            Self::Slice { .. } => RowKind::Slice,
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
            | Self::DeleteFeature(_) => None,
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::PutMeter(meter) => {
                writer.byte(0);
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
                writer.byte(4);
                rule.encode(writer);
            }
            Self::DeleteRule { environment, rule } => {
                writer.byte(5);
                writer.bits(environment.bits());
                writer.bits(rule.bits());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        match reader.byte()? {
            0 => Meter::decode(reader).map(Self::PutMeter),
            1 => reader.bits().map(|it| Self::DeleteMeter(MeterId::from_bits(it))),
            2 => Feature::decode(reader).map(Self::PutFeature),
            3 => reader.bits().map(|it| Self::DeleteFeature(FeatureId::from_bits(it))),
            4 => Rule::decode(reader).map(Self::PutRule),
            5 => Ok(Self::DeleteRule {
                environment: EnvironmentId::from_bits(reader.bits()?),
                rule: RuleId::from_bits(reader.bits()?),
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
            | Self::DeleteEntitlement { customer, .. } => *customer,
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Create { .. } => writer.byte(0),
            Self::Delete { .. } => writer.byte(1),
            Self::PutEntitlement { .. } => writer.byte(2),
            Self::DeleteEntitlement { .. } => writer.byte(3),
        }
        writer.bits(self.customer().bits());
        match self {
            Self::Create { .. } | Self::Delete { .. } => {}
            Self::PutEntitlement { entitlement, .. } => entitlement.encode(writer),
            Self::DeleteEntitlement { entitlement, .. } => writer.bits(entitlement.bits()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let tag = reader.byte()?;
        let customer = CustomerId::from_bits(reader.bits()?);
        match tag {
            0 => Ok(Self::Create { customer }),
            1 => Ok(Self::Delete { customer }),
            2 => Entitlement::decode(reader)
                .map(|entitlement| Self::PutEntitlement { customer, entitlement }),
            3 => reader
                .bits()
                .map(EntitlementId::from_bits)
                .map(|entitlement| Self::DeleteEntitlement { customer, entitlement }),
            _ => Err(Corrupt { expected: "a change of a customer" }),
        }
    }
}
