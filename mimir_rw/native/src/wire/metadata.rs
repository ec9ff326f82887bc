//! Metadata of metric families, as entries of their own (remote write 1.0) or with each series (2.0).

use hashbrown::HashSet;

use super::proto::{Reader, Result, Wire};
use super::remote_write::{Context, Push, PushLimits};
use super::validate::{adjust, cut};
use crate::batch::Metadata;

/// Add the messages at `ranges` to the push. Text that is not UTF-8 is made so.
pub fn read_metadata(
    buf: &[u8],
    ranges: &[(u32, u32)],
    push: &mut Push,
    limits: &PushLimits,
) -> Result<()> {
    push.metadata_received = ranges.len() as u64;
    for (i, &(start, end)) in ranges.iter().enumerate() {
        let (kind, [name, help, unit]) = metadata_fields(buf, start as usize, end as usize)?;
        let entry = SeriesMetadata {
            kind,
            series: name,
            help,
            unit,
        };
        push.add_metadata(i, name, &entry, limits);
    }
    Ok(())
}

/// Metadata that came with a series of that metric name.
pub struct SeriesMetadata<'a> {
    /// As in `Metadata`.
    pub kind: u8,
    pub series: &'a [u8],
    pub help: &'a [u8],
    pub unit: &'a [u8],
}

impl<'a> SeriesMetadata<'a> {
    /// The name of the family: without what the series of a histogram or summary have behind it.
    fn family(&self) -> &'a [u8] {
        let suffixes: &[&[u8]] = match self.kind {
            3 => &[b"_bucket", b"_count", b"_sum"],
            4 => &[b"_bucket", b"_gcount", b"_gsum"],
            5 => &[b"_count", b"_sum"],
            _ => &[],
        };
        let stripped = suffixes
            .iter()
            .find_map(|suffix| self.series.strip_suffix(*suffix));
        stripped
            .filter(|family| !family.is_empty())
            .unwrap_or(self.series)
    }

    fn hash(&self, context: &Context<'_>, scratch: &mut Vec<u8>) -> u128 {
        scratch.clear();
        scratch.push(self.kind);
        for text in [self.family(), self.help, self.unit] {
            scratch.extend_from_slice(&(text.len() as u64).to_le_bytes());
            scratch.extend_from_slice(text);
        }
        context.hasher.hash(scratch)
    }
}

/// Add what came with series, but for what the tenant has sent of late.
pub fn add_series_metadata(entries: &[SeriesMetadata<'_>], push: &mut Push, context: &Context<'_>) {
    let mut scratch = Vec::new();
    let mut hash = |entry: &SeriesMetadata<'_>| entry.hash(context, &mut scratch);
    let hashes: Vec<u128> = entries.iter().map(&mut hash).collect();
    let is_new = match context.recent_metadata {
        Some(recent) => recent.retain_new(&hashes, context.now_ms),
        None => {
            let mut seen: HashSet<u128> = HashSet::default();
            hashes.iter().map(|&hash| seen.insert(hash)).collect()
        }
    };
    let new = entries.iter().zip(is_new).filter(|(_, is_new)| *is_new);
    for (i, (entry, _)) in new.enumerate() {
        push.metadata_received += 1;
        push.add_metadata(i, entry.family(), entry, context.limits);
    }
}

impl Push {
    /// HELP is shortened to the limit, what else is over it refused.
    fn add_metadata(
        &mut self,
        i: usize,
        name: &[u8],
        entry: &SeriesMetadata<'_>,
        limits: &PushLimits,
    ) {
        let (max, push, unit) = (limits.metadata_bytes_max, self, entry.unit);
        let rows = push.batch.label_range.len();
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
                kind: entry.kind,
                name: String::from_utf8_lossy(name).into_owned(),
                help: shortened(entry.help, max),
                unit: String::from_utf8_lossy(unit).into_owned(),
            });
        }
    }
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
