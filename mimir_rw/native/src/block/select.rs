//! Selections over a block in local files.

use super::plan::Plan;
use super::rows::{Selected, SeriesRows};
use super::{BlockError, BlockReader};
use crate::codec::Damaged;
use crate::labels::{CompiledMatcher, LabelFrame};
use crate::series_set::encoded::{EncodedSet, SetBuilder};

impl From<Damaged> for BlockError {
    fn from(damaged: Damaged) -> Self {
        BlockError::Damaged(damaged.0.to_string())
    }
}

impl BlockReader {
    /// Series that match all of `matchers` and have chunks in mint..=maxt.
    pub fn find(
        &self,
        matchers: Vec<CompiledMatcher>,
        mint: i64,
        maxt: i64,
    ) -> Result<Selected, BlockError> {
        let plan = Plan::new(&self.index.table, matchers)?;
        let ids = plan.resolve(|span, ids| self.index.read_list(span, ids))?;
        let mut rows = SeriesRows::new(mint, maxt);
        self.index.series_at(&ids, |entry| rows.push(entry))?;
        rows.finish(&self.index.symbols, &plan.filters)
    }

    /// The same with the chunks, read and checked.
    pub fn select(
        &self,
        matchers: Vec<CompiledMatcher>,
        mint: i64,
        maxt: i64,
    ) -> Result<EncodedSet, BlockError> {
        let found = self.find(matchers, mint, maxt)?;
        let mut chunks = self.chunk_cursor();
        let mut set = SetBuilder::default();
        for row in 0..found.labels.len() {
            for place in found.chunks_of(row) {
                let meta = &place.meta;
                set.chunk(meta.mint, meta.maxt, |out| chunks.read(meta.reference, out))?;
            }
            set.end_row()?;
        }
        Ok(set.finish(found.labels))
    }

    /// Names of the labels of matching series, ascending. No matchers and the block within the range: of all.
    pub fn names_among(
        &self,
        matchers: Vec<CompiledMatcher>,
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<String>, BlockError> {
        let found = self.find(matchers, mint, maxt)?;
        let names = found.labels.columns().iter();
        Ok(names.map(|column| column.name.to_string()).collect())
    }

    /// Values of a label among matching series, ascending.
    pub fn values_among(
        &self,
        name: &str,
        matchers: Vec<CompiledMatcher>,
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<String>, BlockError> {
        let found = self.find(matchers, mint, maxt)?;
        Ok(values_of(&found.labels, name))
    }
}

/// Values of a column, ascending.
pub fn values_of(labels: &LabelFrame, name: &str) -> Vec<String> {
    let Some(column) = labels.column(name) else {
        return Vec::new();
    };
    let mut used: Vec<i32> = column.codes.iter().copied().filter(|&c| c >= 0).collect();
    used.sort_unstable();
    used.dedup();
    let texts = used
        .iter()
        .map(|&code| column.dictionary.get(code as usize).to_owned());
    let mut values: Vec<String> = texts.collect();
    values.sort_unstable();
    values
}
