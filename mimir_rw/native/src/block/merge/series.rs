//! All series of all sources in label order.

use super::MergeError;
use super::symbols::Union;
use crate::block::BlockReader;
use crate::block::index::SeriesCursor;
use crate::block::segments::ChunkCursor;
use crate::block::series::SeriesEntry;

/// A source at one of its series. Labels are numbers of the union.
pub struct Place<'a> {
    cursor: SeriesCursor<'a>,
    pub chunks: ChunkCursor<'a>,
    pub entry: SeriesEntry,
    before: Vec<(u32, u32)>,
    pub ended: bool,
}

pub struct Places<'a> {
    pub each: Vec<Place<'a>>,
    union: &'a Union,
}

impl<'a> Places<'a> {
    /// All sources at their first series.
    pub fn start(sources: &'a [BlockReader], union: &'a Union) -> Result<Self, MergeError> {
        let each = sources.iter().map(|source| Place {
            cursor: source.series_in_order(),
            chunks: source.chunk_cursor(),
            entry: SeriesEntry::default(),
            before: Vec::new(),
            ended: false,
        });
        let mut places = Places {
            each: each.collect(),
            union,
        };
        for at in 0..places.each.len() {
            places.advance(at)?;
        }
        Ok(places)
    }

    /// The sources that are at the next series, into `next`; false: there is none.
    pub fn next_series(&self, next: &mut Vec<usize>) -> bool {
        next.clear();
        for (at, place) in self.each.iter().enumerate() {
            if place.ended {
                continue;
            }
            let order = next
                .first()
                .map(|&first| place.entry.labels.cmp(&self.each[first].entry.labels));
            match order {
                None | Some(std::cmp::Ordering::Equal) => next.push(at),
                Some(std::cmp::Ordering::Less) => {
                    next.clear();
                    next.push(at);
                }
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        !next.is_empty()
    }

    /// Take a source to its next series.
    pub fn advance(&mut self, at: usize) -> Result<(), MergeError> {
        let place = &mut self.each[at];
        std::mem::swap(&mut place.before, &mut place.entry.labels);
        let more = place.cursor.read_next(&mut place.entry);
        if !more.map_err(MergeError::of(at))? {
            place.ended = true;
            return Ok(());
        }
        let numbers = &self.union.numbers[at];
        for label in &mut place.entry.labels {
            let (name, value) = (numbers.get(label.0 as usize), numbers.get(label.1 as usize));
            match (name, value) {
                (Some(&name), Some(&value)) => *label = (name, value),
                _ => {
                    return Err(MergeError::damaged(
                        at,
                        "a series has a symbol that is not there",
                    ));
                }
            }
        }
        match place.before < place.entry.labels {
            true => Ok(()),
            false => Err(MergeError::damaged(at, "series do not ascend")),
        }
    }
}
