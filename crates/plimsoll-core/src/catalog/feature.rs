//! Features: what is sold.

use std::sync::Arc;

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::{EnvironmentId, FeatureId, MeterId},
};

/// A feature, as far as rules depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// The feature's id.
    pub id: FeatureId,
    /// The environment it is sold in.
    pub environment: EnvironmentId,
    /// Whether and how it is measured.
    pub kind: FeatureKind,
    /// The document that notifications show, opaque to the core.
    pub document: Arc<[u8]>,
}

/// Whether and how a feature is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureKind {
    /// Usage is measured by a meter.
    Metered {
        /// The meter that measures it.
        meter: MeterId,
    },
    /// Had or not had.
    Boolean,
    /// A fixed configuration value.
    Static,
}

impl Feature {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.bits(self.environment.bits());
        match self.kind {
            FeatureKind::Metered { meter } => {
                writer.byte(0);
                writer.bits(meter.bits());
            }
            FeatureKind::Boolean => writer.byte(1),
            FeatureKind::Static => writer.byte(2),
        }
        writer.slice(&self.document);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: FeatureId::from_bits(reader.bits()?),
            environment: EnvironmentId::from_bits(reader.bits()?),
            kind: match reader.byte()? {
                0 => FeatureKind::Metered { meter: MeterId::from_bits(reader.bits()?) },
                1 => FeatureKind::Boolean,
                2 => FeatureKind::Static,
                _ => return Err(Corrupt { expected: "a kind of feature" }),
            },
            document: reader.shared()?,
        })
    }
}
