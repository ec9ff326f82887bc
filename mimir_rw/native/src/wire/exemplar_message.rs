//! Exemplars: which of them are taken (mimir-atlas.md 1.1). What is wrong with one never fails a push.

use super::proto::{Reader, Result as ProtoResult, Wire};
use super::series::{read_label, write_label};
use crate::batch::Exemplar;

/// Characters of names and values together.
const LABEL_CHARACTERS_MAX: usize = 128;

/// Why an exemplar is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExemplarFault {
    LabelsMissing,
    LabelsInvalid,
    LabelsTooLong,
    NoTimestamp,
}

impl ExemplarFault {
    pub fn id(self) -> &'static str {
        match self {
            Self::LabelsMissing => "exemplar-labels-missing",
            Self::LabelsInvalid => "exemplar-labels-invalid",
            Self::LabelsTooLong => "exemplar-labels-too-long",
            Self::NoTimestamp => "exemplar-timestamp-invalid",
        }
    }
}

/// An exemplar of remote write 1.0, the message `buf[start..end]`.
pub fn read(buf: &[u8], start: usize, end: usize) -> ProtoResult<Result<Exemplar, ExemplarFault>> {
    let mut reader = Reader::within(buf, start, end);
    let (mut labels, mut value, mut ts) = (Vec::new(), 0.0, 0);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Bytes) => {
                let (from, to) = reader.bytes()?;
                let label = read_label(buf, from, to)?;
                labels.push((label.name(buf), label.value(buf)));
            }
            (2, Wire::Fixed64) => value = reader.double()?,
            (3, Wire::Varint) => ts = reader.varint()? as i64,
            _ => reader.skip(number, wire)?,
        }
    }
    Ok(exemplar(labels, value, ts))
}

/// Labels without value are none.
pub fn exemplar(
    mut labels: Vec<(&[u8], &[u8])>,
    value: f64,
    ts: i64,
) -> Result<Exemplar, ExemplarFault> {
    labels.retain(|(name, value)| !name.is_empty() && !value.is_empty());
    if labels.is_empty() {
        return Err(ExemplarFault::LabelsMissing);
    }
    if ts == 0 {
        return Err(ExemplarFault::NoTimestamp);
    }
    let mut characters = 0;
    for text in labels.iter().flat_map(|label| [label.0, label.1]) {
        let text = std::str::from_utf8(text).map_err(|_| ExemplarFault::LabelsInvalid)?;
        characters += text.chars().count();
    }
    if characters > LABEL_CHARACTERS_MAX {
        return Err(ExemplarFault::LabelsTooLong);
    }
    labels.sort_unstable();
    if labels.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(ExemplarFault::LabelsInvalid);
    }
    let mut canonical = Vec::new();
    labels
        .iter()
        .for_each(|(name, value)| write_label(&mut canonical, name, value));
    Ok(Exemplar {
        ts,
        value,
        labels: canonical,
    })
}
