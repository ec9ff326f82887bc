//! Metadata of metric families as remote write 1.0 sends it.

use super::proto::{Reader, Result, Wire};
use super::remote_write::{Push, PushLimits};
use super::validate::{adjust, cut};
use crate::batch::Metadata;

/// Add the messages at `ranges` to the push: HELP is shortened to the limit, what else is over it refused. Text that
/// is not UTF-8 is made so.
pub fn read_metadata(
    buf: &[u8],
    ranges: &[(u32, u32)],
    push: &mut Push,
    limits: &PushLimits,
) -> Result<()> {
    let max = limits.metadata_bytes_max;
    let rows = push.batch.label_range.len();
    for (i, &(start, end)) in ranges.iter().enumerate() {
        let (kind, [name, help, unit]) = metadata_fields(buf, start as usize, end as usize)?;
        if name.is_empty() {
            push.reject(rows + i, "metadata-missing-metric-name", 1, || {
                "metadata has no metric name".to_owned()
            });
        } else if name.len() > max {
            push.reject(rows + i, "metric-name-too-long", 1, || {
                metadata_too_long("metric name", name, name, max)
            });
        } else if unit.len() > max {
            push.reject(rows + i, "unit-too-long", 1, || {
                metadata_too_long("unit", unit, name, max)
            });
        } else {
            push.batch.metadata.push(Metadata {
                kind,
                name: String::from_utf8_lossy(name).into_owned(),
                help: shortened(help, max),
                unit: String::from_utf8_lossy(unit).into_owned(),
            });
        }
    }
    Ok(())
}

/// Type, then name, help and unit.
fn metadata_fields(buf: &[u8], start: usize, end: usize) -> Result<(u8, [&[u8]; 3])> {
    let mut reader = Reader::within(buf, start, end);
    let (mut kind, mut texts) = (0, [&buf[..0]; 3]);
    while let Some((number, wire)) = reader.field()? {
        let text = match (number, wire) {
            (1, Wire::Varint) => {
                kind = u8::try_from(reader.varint()?)
                    .ok()
                    .filter(|&k| k <= 7)
                    .unwrap_or(0);
                continue;
            }
            (2, Wire::Bytes) => 0,
            (4, Wire::Bytes) => 1,
            (5, Wire::Bytes) => 2,
            _ => {
                reader.skip(number, wire)?;
                continue;
            }
        };
        let (from, to) = reader.bytes()?;
        texts[text] = &buf[from..to];
    }
    Ok((kind, texts))
}

fn metadata_too_long(what: &str, text: &[u8], metric: &[u8], max: usize) -> String {
    format!(
        "{what} {:?} has {} bytes and the limit is {max}, in the metadata of {:?}; {}",
        cut(text),
        text.len(),
        cut(metric),
        adjust("validation.max-metadata-length")
    )
}

/// At most `max` bytes of a text, cut between characters.
fn shortened(text: &[u8], max: usize) -> String {
    let mut shown = String::from_utf8_lossy(&text[..text.len().min(max + 4)]).into_owned();
    let mut end = max.min(shown.len());
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    shown.truncate(end);
    shown
}
