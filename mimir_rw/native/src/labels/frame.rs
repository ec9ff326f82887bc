//! `LabelFrame`: n label sets as dictionary-coded columns, and the kernels on them.
//!
//! Invariants: columns are sorted by label name, names are distinct; each column has a code per row, -1 where the row
//! lacks the label; every column has a value in at least one row; dictionary entries are distinct and not empty, but
//! need not all be in use. A frame never changes; columns and dictionaries are shared between frames.

use std::sync::Arc;

use hashbrown::HashMap;
use pyo3::prelude::*;

use super::dictionary::{Dictionary, Interner, Translation};
use super::factor::Factor;
use super::order;

#[derive(Clone, Debug)]
pub struct Column {
    pub name: Arc<str>,
    pub dictionary: Arc<Dictionary>,
    pub codes: Arc<Vec<i32>>,
}

impl Column {
    pub fn value(&self, row: usize) -> Option<&str> {
        let code = usize::try_from(self.codes[row]).ok()?;
        Some(self.dictionary.get(code))
    }
}

#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Clone, Debug, Default)]
pub struct LabelFrame {
    len: usize,
    columns: Vec<Column>,
}

impl LabelFrame {
    /// A frame of `len` rows over columns in any order.
    ///
    /// The caller vouches for distinct names, `len` codes per column, each -1 or in its dictionary, and for distinct,
    /// non-empty dictionary entries (lengths and names are asserted). Columns without any value are left out.
    pub fn from_columns(len: usize, columns: Vec<(Arc<str>, Arc<Dictionary>, Vec<i32>)>) -> Self {
        assert!(
            i32::try_from(len).is_ok(),
            "a frame has less than 2^31 rows"
        );
        let mut kept: Vec<Column> = Vec::with_capacity(columns.len());
        for (name, dictionary, codes) in columns {
            assert_eq!(codes.len(), len, "codes of label {name}");
            if codes.iter().any(|&code| code >= 0) {
                kept.push(Column {
                    name,
                    dictionary,
                    codes: Arc::new(codes),
                });
            }
        }
        kept.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        assert!(
            kept.windows(2).all(|pair| pair[0].name != pair[1].name),
            "label names of a frame are distinct"
        );
        Self { len, columns: kept }
    }

    pub fn empty_rows(len: usize) -> Self {
        Self::from_columns(len, Vec::new())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sorted by name.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        let at = self
            .columns
            .binary_search_by(|column| (*column.name).cmp(name))
            .ok()?;
        Some(&self.columns[at])
    }

    /// Labels of one row in name order.
    pub fn labels(&self, row: usize) -> impl Iterator<Item = (&str, &str)> {
        self.columns
            .iter()
            .filter_map(move |column| Some((&*column.name, column.value(row)?)))
    }

    /// Rows by number, each in range, repeats allowed.
    pub fn take(&self, rows: impl ExactSizeIterator<Item = usize> + Clone) -> Self {
        let gather = |column: &Column| {
            let codes = rows.clone().map(|row| column.codes[row]).collect();
            (column.name.clone(), column.dictionary.clone(), codes)
        };
        Self::from_columns(rows.len(), self.columns.iter().map(gather).collect())
    }

    /// The columns whose name satisfies `keep`, shared.
    pub fn filter_columns(&self, keep: impl Fn(&str) -> bool) -> Self {
        let columns = self.columns.iter().filter(|column| keep(&column.name));
        Self {
            len: self.len,
            columns: columns.cloned().collect(),
        }
    }

    /// Replace or add a column. Entries may repeat or be empty; a row whose entry is empty lacks the label.
    ///
    /// `codes`: one per row, each -1 or below `entries.len()` (the caller checks).
    pub fn with_column<S: AsRef<str>>(&self, name: &str, entries: &[S], codes: &[i32]) -> Self {
        assert_eq!(codes.len(), self.len, "codes of label {name}");
        let mut interner = Interner::default();
        let canonical: Vec<i32> = entries
            .iter()
            .map(|entry| match entry.as_ref() {
                "" => -1,
                entry => interner.intern(entry),
            })
            .collect();
        let codes: Vec<i32> = codes
            .iter()
            .map(|&code| usize::try_from(code).map_or(-1, |code| canonical[code]))
            .collect();
        let mut frame = self.filter_columns(|other| other != name);
        if codes.iter().any(|&code| code >= 0) {
            let at = frame.columns.partition_point(|column| &*column.name < name);
            let column = Column {
                name: name.into(),
                dictionary: Arc::new(interner.finish()),
                codes: Arc::new(codes),
            };
            frame.columns.insert(at, column);
        }
        frame
    }

    /// The rows of all frames, one frame after another.
    pub fn concat(frames: &[&Self]) -> Self {
        if let [frame] = frames {
            return (*frame).clone();
        }
        let len = frames.iter().map(|frame| frame.len).sum();
        let columns = union_names(frames)
            .into_iter()
            .map(|name| {
                let (dictionary, codes) = concat_column(frames, &name, len);
                (name, dictionary, codes)
            })
            .collect();
        Self::from_columns(len, columns)
    }

    /// Ids of rows by the values of the columns whose name satisfies `keep`.
    pub fn factorise(&self, keep: impl Fn(&str) -> bool) -> Factor {
        let mut factor = Factor::new(self.len);
        for column in self.columns.iter().filter(|column| keep(&column.name)) {
            factor.refine(column.codes.iter().copied(), column.dictionary.len());
        }
        factor
    }

    /// Group id per row and one row of the kept labels per group, ids in order of first appearance.
    pub fn group(&self, keep: impl Fn(&str) -> bool) -> (Factor, Self) {
        let kept = self.filter_columns(keep);
        let factor = kept.factorise(|_| true);
        let groups = kept.take(factor.first_rows().into_iter());
        (factor, groups)
    }

    /// Ids of the rows of self, then of other, over one id space, by the columns whose name satisfies `keep`.
    pub fn match_ids(&self, other: &Self, keep: impl Fn(&str) -> bool) -> Factor {
        let mut factor = Factor::new(self.len + other.len);
        for name in union_names(&[self, other]) {
            if keep(&name) && !factor.is_complete() {
                let (dictionary, codes) =
                    concat_column(&[self, other], &name, self.len + other.len);
                factor.refine(codes.into_iter(), dictionary.len());
            }
        }
        factor
    }

    /// Stable order of the rows by label set (name, then value, bytewise; a prefix first).
    pub fn sort_order(&self) -> Vec<i64> {
        order::sort_order(&self.columns, self.len)
    }

    /// Bytes held by codes and dictionaries, shared ones counted in full.
    pub fn memory_bytes(&self) -> usize {
        self.columns
            .iter()
            .map(|column| 4 * column.codes.capacity() + column.dictionary.memory_bytes())
            .sum()
    }
}

pub fn union_names(frames: &[&LabelFrame]) -> Vec<Arc<str>> {
    let all = frames.iter().flat_map(|frame| &frame.columns);
    let mut names: Vec<Arc<str>> = all.map(|column| column.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// One column of a concatenation. A dictionary common to all frames is kept; otherwise the entries in use are merged.
fn concat_column(frames: &[&LabelFrame], name: &str, len: usize) -> (Arc<Dictionary>, Vec<i32>) {
    let parts: Vec<(usize, Option<&Column>)> = frames
        .iter()
        .map(|frame| (frame.len, frame.column(name)))
        .collect();
    let mut present = parts.iter().filter_map(|(_, column)| *column);
    let first = present.next().map(|column| &column.dictionary);
    let common = first.filter(|first| present.all(|column| Arc::ptr_eq(&column.dictionary, first)));

    let mut codes = Vec::with_capacity(len);
    let mut interner = Interner::default();
    for (rows, column) in parts {
        match column {
            None => codes.extend(std::iter::repeat_n(-1, rows)),
            Some(column) if common.is_some() => codes.extend_from_slice(&column.codes),
            Some(column) => {
                let source = &*column.dictionary;
                let mut translation = Translation::new(source);
                codes.extend(
                    column
                        .codes
                        .iter()
                        .map(|&code| translation.code(source, &mut interner, code)),
                );
            }
        }
    }
    let dictionary = common.map_or_else(|| Arc::new(interner.finish()), Arc::clone);
    (dictionary, codes)
}

/// Builds a frame row by row: `label` for each label of a row, then `end_row`.
///
/// Made for rows that resemble their predecessor: a label with the name and value that stood at the same place before
/// costs two comparisons and no hash.
#[derive(Default)]
pub struct FrameBuilder {
    rows: usize,
    columns: Vec<ColumnBuilder>,
    by_name: HashMap<Arc<str>, usize>,
    /// Columns of the row before, in its order of labels; this row's so far replace them from the front.
    places: Vec<usize>,
    place: usize,
}

struct ColumnBuilder {
    name: Arc<str>,
    interner: Interner,
    codes: Vec<i32>,
    last: i32,
}

impl FrameBuilder {
    /// Add a label to the row that is being built. Empty values are ignored; of a name given twice the last counts.
    pub fn label(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let at = self.column_at(name);
        let column = &mut self.columns[at];
        if column.last < 0 || column.interner.get(column.last) != value {
            column.last = column.interner.intern(value);
        }
        column.codes.resize(self.rows, -1);
        column.codes.push(column.last);
    }

    fn column_at(&mut self, name: &str) -> usize {
        let place = self.place;
        self.place += 1;
        if let Some(&at) = self.places.get(place)
            && *self.columns[at].name == *name
        {
            return at;
        }
        let at = self.by_name.get(name).copied().unwrap_or_else(|| {
            let name: Arc<str> = name.into();
            self.by_name.insert(name.clone(), self.columns.len());
            self.columns.push(ColumnBuilder {
                name,
                interner: Interner::default(),
                codes: vec![-1; self.rows],
                last: -1,
            });
            self.columns.len() - 1
        });
        self.places.truncate(place);
        self.places.push(at);
        at
    }

    pub fn end_row(&mut self) {
        self.rows += 1;
        self.place = 0;
    }

    pub fn finish(self) -> LabelFrame {
        let rows = self.rows;
        let column = |mut column: ColumnBuilder| {
            column.codes.resize(rows, -1);
            (
                column.name,
                Arc::new(column.interner.finish()),
                column.codes,
            )
        };
        LabelFrame::from_columns(rows, self.columns.into_iter().map(column).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rows: &[&[(&str, &str)]]) -> LabelFrame {
        let mut builder = FrameBuilder::default();
        for row in rows {
            for (name, value) in *row {
                builder.label(name, value);
            }
            builder.end_row();
        }
        builder.finish()
    }

    #[test]
    fn builder_keeps_rows_of_different_shape() {
        let rows: &[&[(&str, &str)]] = &[
            &[("a", "1"), ("b", "2")],
            &[("b", "2"), ("c", "3")],
            &[],
            &[("a", "1"), ("b", "4"), ("c", "")],
        ];
        let frame = frame(rows);
        assert_eq!(frame.len(), 4);
        assert_eq!(frame.labels(0).collect::<Vec<_>>(), rows[0]);
        assert_eq!(frame.labels(1).collect::<Vec<_>>(), rows[1]);
        assert_eq!(frame.labels(2).count(), 0);
        assert_eq!(
            frame.labels(3).collect::<Vec<_>>(),
            [("a", "1"), ("b", "4")]
        );
    }

    #[test]
    fn builder_takes_the_last_of_a_repeated_name() {
        let frame = frame(&[&[("a", "1"), ("a", "2")], &[("a", "3")]]);
        assert_eq!(frame.labels(0).collect::<Vec<_>>(), [("a", "2")]);
        assert_eq!(frame.labels(1).collect::<Vec<_>>(), [("a", "3")]);
    }

    #[test]
    fn columns_without_a_value_are_left_out() {
        let frame = frame(&[&[("a", "1")], &[("b", "1")]]);
        let second = frame.take([1].into_iter());
        assert_eq!(second.columns().len(), 1);
        assert!(second.column("a").is_none());
    }

    #[test]
    fn a_label_set_that_lacks_a_label_sorts_by_its_next_name() {
        let frame = frame(&[
            &[("a", "1"), ("b", "1")],
            &[("b", "0")],
            &[("a", "1")],
            &[],
            &[("a", "1"), ("c", "0")],
        ]);
        assert_eq!(frame.sort_order(), [3, 2, 0, 4, 1]);
    }

    #[test]
    fn concat_shares_a_common_dictionary() {
        let frame = frame(&[&[("a", "1")], &[("a", "2")]]);
        let both = LabelFrame::concat(&[&frame.take([1].into_iter()), &frame]);
        let dictionary = &both.column("a").expect("present").dictionary;
        assert!(Arc::ptr_eq(dictionary, &frame.columns()[0].dictionary));
        assert_eq!(both.columns()[0].codes.as_slice(), [1, 0, 1]);
    }
}
