//! Frames over common dictionaries, and the union of sorted frames.
//!
//! The columns of a union have ascending dictionaries: codes are ranks, rows compare by integers. Frames that came from
//! another process have such dictionaries already, and replicas mostly equal ones; then nothing is translated.

use std::ops::Range;
use std::sync::Arc;

use super::dictionary::Dictionary;
use super::frame::{Column, LabelFrame, union_names};
use super::order;

/// Where the rows of a union come from.
#[derive(Debug, Default)]
pub struct Union {
    /// Distinct label sets, sorted.
    pub labels: LabelFrame,
    /// The sources of row i are `sources[start[i]..start[i + 1]]`.
    start: Vec<u32>,
    /// Frame and row.
    sources: Vec<(u32, u32)>,
}

impl Union {
    /// Of frames in any order, rows of each in any order.
    pub fn new(frames: &[&LabelFrame]) -> Self {
        match frames.split_first() {
            None => Union::default(),
            Some((first, rest))
                if rest.iter().all(|frame| same(first, frame)) && ascends(first) =>
            {
                Self::of_equals(first, frames.len())
            }
            Some(_) => Self::of_any(frames),
        }
    }

    fn of_equals(frame: &LabelFrame, count: usize) -> Self {
        let (rows, count) = (frame.len() as u32, count as u32);
        Union {
            labels: frame.clone(),
            start: (0..=rows).map(|row| row * count).collect(),
            sources: (0..rows)
                .flat_map(|row| (0..count).map(move |frame| (frame, row)))
                .collect(),
        }
    }

    fn of_any(frames: &[&LabelFrame]) -> Self {
        let whole = concat(frames);
        let order = order::ordered(whole.columns(), whole.len());
        let mut firsts = Vec::with_capacity(order.rows.len() / frames.len() + 1);
        let mut start = Vec::with_capacity(firsts.capacity());
        for (at, &row) in order.rows.iter().enumerate() {
            if order.begins_group(at) {
                firsts.push(row as usize);
                start.push(at as u32);
            }
        }
        start.push(order.rows.len() as u32);
        let ends: Vec<u32> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len() as u32;
                Some(*end)
            })
            .collect();
        let source = |&row: &u32| {
            let frame = ends.partition_point(|&end| end <= row);
            let before = frame.checked_sub(1).map_or(0, |before| ends[before]);
            (frame as u32, row - before)
        };
        Union {
            labels: whole.take(firsts.into_iter()),
            start,
            sources: order.rows.iter().map(source).collect(),
        }
    }

    /// Frame and row of each source of a row.
    pub fn sources(&self, row: usize) -> &[(u32, u32)] {
        let range: Range<usize> = self.start[row] as usize..self.start[row + 1] as usize;
        &self.sources[range]
    }
}

/// Whether the rows are sorted and distinct.
pub fn ascends(frame: &LabelFrame) -> bool {
    order::ascends(frame.columns(), frame.len())
}

fn same(a: &LabelFrame, b: &LabelFrame) -> bool {
    let same_column = |(a, b): (&Column, &Column)| {
        a.name == b.name && a.codes == b.codes && a.dictionary.same_entries(&b.dictionary)
    };
    a.len() == b.len()
        && a.columns().len() == b.columns().len()
        && a.columns().iter().zip(b.columns()).all(same_column)
}

/// The rows of all frames, one frame after another, over ascending dictionaries.
pub fn concat(frames: &[&LabelFrame]) -> LabelFrame {
    let len = frames.iter().map(|frame| frame.len()).sum();
    let columns = union_names(frames).into_iter().map(|name| {
        let (dictionary, codes) = concat_column(frames, &name, len);
        (name, dictionary, codes)
    });
    LabelFrame::from_columns(len, columns.collect())
}

fn concat_column(frames: &[&LabelFrame], name: &str, len: usize) -> (Arc<Dictionary>, Vec<i32>) {
    let columns: Vec<Option<&Column>> = frames.iter().map(|frame| frame.column(name)).collect();
    let mut dictionaries = columns.iter().flatten().map(|column| &column.dictionary);
    let first = dictionaries.next().filter(|first| first.is_ascending());
    let common = first.filter(|first| dictionaries.all(|other| first.same_entries(other)));
    let mut codes = Vec::with_capacity(len);
    if let Some(common) = common {
        for (frame, column) in frames.iter().zip(&columns) {
            match column {
                Some(column) => codes.extend_from_slice(&column.codes),
                None => codes.resize(codes.len() + frame.len(), -1),
            }
        }
        return (common.clone(), codes);
    }
    let (dictionary, translations) = merge_dictionaries(&columns);
    for ((frame, column), translation) in frames.iter().zip(&columns).zip(&translations) {
        match column {
            Some(column) => {
                let translate =
                    |&code: &i32| usize::try_from(code).map_or(-1, |code| translation[code]);
                codes.extend(column.codes.iter().map(translate));
            }
            None => codes.resize(codes.len() + frame.len(), -1),
        }
    }
    (Arc::new(dictionary), codes)
}

/// All entries, ascending, and the new code of each old one per column.
fn merge_dictionaries(columns: &[Option<&Column>]) -> (Dictionary, Vec<Vec<i32>>) {
    let mut entries: Vec<(&str, u32, u32)> = Vec::new();
    let mut translations = Vec::with_capacity(columns.len());
    for (number, column) in (0..).zip(columns) {
        let dictionary = column.map(|column| &*column.dictionary);
        translations.push(vec![-1; dictionary.map_or(0, Dictionary::len)]);
        let texts = dictionary.into_iter().flat_map(Dictionary::iter);
        entries.extend((0..).zip(texts).map(|(code, text)| (text, number, code)));
    }
    // Ascending runs, mostly, which this sort finds.
    entries.sort_by_key(|entry| entry.0);
    let (mut text, mut offsets) = (String::new(), vec![0u32]);
    let mut last = None;
    for (entry, column, code) in entries {
        if last != Some(entry) {
            text.push_str(entry);
            offsets.push(super::dictionary::arena_offset(text.len()));
            last = Some(entry);
        }
        translations[column as usize][code as usize] = offsets.len() as i32 - 2;
    }
    (Dictionary::ascending(text, offsets), translations)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::frame::FrameBuilder;
    use super::*;

    fn frame(rows: &[usize]) -> LabelFrame {
        let mut builder = FrameBuilder::default();
        for &row in rows {
            builder.label("a", &format!("x{}", row % 7));
            if row % 5 > 0 {
                builder.label("b", &row.to_string());
            }
            builder.label(&format!("c{}", row % 4), &row.to_string());
            builder.end_row();
        }
        let frame = builder.finish();
        let order = frame.sort_order();
        frame.take(order.iter().map(|&row| row as usize))
    }

    fn rows_of(frame: &LabelFrame) -> Vec<Vec<(String, String)>> {
        let row = |row| {
            frame
                .labels(row)
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect()
        };
        (0..frame.len()).map(row).collect()
    }

    #[test]
    fn a_union_has_each_label_set_once_and_knows_its_sources() {
        let all: Vec<usize> = (0..60).collect();
        let cases: &[&[&[usize]]] = &[
            &[],
            &[&all],
            &[&all, &all, &all],
            &[&all[..40], &all[20..], &[]],
            &[&all[..1], &all[50..], &all[3..9]],
        ];
        for case in cases {
            let frames: Vec<LabelFrame> = case.iter().map(|rows| frame(rows)).collect();
            let frames: Vec<&LabelFrame> = frames.iter().collect();
            let union = Union::new(&frames);
            let got = rows_of(&union.labels);
            let want: BTreeSet<_> = frames.iter().flat_map(|frame| rows_of(frame)).collect();
            assert_eq!(got, want.into_iter().collect::<Vec<_>>());
            let mut sources = 0;
            for (row, labels) in got.iter().enumerate() {
                for &(frame, of) in union.sources(row) {
                    sources += 1;
                    assert_eq!(&rows_of(frames[frame as usize])[of as usize], labels);
                }
                assert!(union.sources(row).is_sorted());
            }
            assert_eq!(
                sources,
                frames.iter().map(|frame| frame.len()).sum::<usize>()
            );
            assert!(ascends(&union.labels));
        }
    }

    #[test]
    fn repeated_and_unsorted_rows_do_not_ascend() {
        let sorted = frame(&[1, 2, 3]);
        assert!(ascends(&sorted));
        assert!(!ascends(&sorted.take([0, 0].into_iter())));
        assert!(!ascends(&sorted.take([1, 0].into_iter())));
        assert_eq!(
            Union::new(&[&sorted.take([2, 0, 2].into_iter())])
                .labels
                .len(),
            2
        );
    }
}
