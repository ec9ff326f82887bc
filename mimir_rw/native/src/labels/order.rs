//! Order of label sets: as lists of (name, value) in name order, bytewise, a prefix first.
//!
//! Per row and column one small key suffices. Where both rows have the label, the rank of the value decides. Where one
//! lacks it, its next label has a later name, so it sorts after; unless it has no further label: then it is a prefix
//! of the other and sorts before. So: 0 for "absent, and nothing follows", rank + 1 for a value, len + 1 for "absent,
//! but something follows". The keys of neighbouring columns are packed into words, and rows sorted word by word.

use super::frame::Column;

/// Stable order of `rows` rows.
pub fn sort_order(columns: &[Column], rows: usize) -> Vec<i64> {
    let words = pack(columns, rows);
    let mut order: Vec<(u64, u32)> = (0..rows as u32).map(|row| (0, row)).collect();
    sort_by_words(&mut order, &words);
    order.into_iter().map(|(_, row)| i64::from(row)).collect()
}

/// Rows in order, and which of them equal the one before.
pub struct Ordered {
    pub rows: Vec<u32>,
    words: Vec<Vec<u64>>,
}

/// Stable order of `rows` rows, for those of several sorted frames in sequence.
pub fn ordered(columns: &[Column], rows: usize) -> Ordered {
    let words = pack(columns, rows);
    let mut order: Vec<(u64, u32)> = (0..rows as u32).map(|row| (0, row)).collect();
    merge_by_words(&mut order, &words);
    Ordered {
        rows: order.into_iter().map(|(_, row)| row).collect(),
        words,
    }
}

impl Ordered {
    /// Whether the row at this place differs from the one before.
    pub fn begins_group(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1) else {
            return true;
        };
        let (a, b) = (self.rows[before] as usize, self.rows[at] as usize);
        self.words.iter().any(|word| word[a] != word[b])
    }
}

/// Whether the rows ascend strictly.
pub fn ascends(columns: &[Column], rows: usize) -> bool {
    let words = pack(columns, rows);
    let less = |row: usize| {
        let differing = words.iter().find(|word| word[row] != word[row + 1]);
        differing.is_some_and(|word| word[row] < word[row + 1])
    };
    (0..rows.saturating_sub(1)).all(less)
}

/// As `sort_by_words`, by a sort that finds ascending runs and merges them.
fn merge_by_words(rows: &mut [(u64, u32)], words: &[Vec<u64>]) {
    let Some((word, rest)) = words.split_first() else {
        rows.sort_by_key(|&(_, row)| row);
        return;
    };
    for (key, row) in rows.iter_mut() {
        *key = word[*row as usize];
    }
    rows.sort();
    if !rest.is_empty() {
        for ties in rows.chunk_by_mut(|a, b| a.0 == b.0) {
            if ties.len() > 1 {
                merge_by_words(ties, rest);
            }
        }
    }
}

/// Sort by the first word; ties by the next, and at last by row.
fn sort_by_words(rows: &mut [(u64, u32)], words: &[Vec<u64>]) {
    let Some((word, rest)) = words.split_first() else {
        rows.sort_unstable_by_key(|&(_, row)| row);
        return;
    };
    for (key, row) in rows.iter_mut() {
        *key = word[*row as usize];
    }
    rows.sort_unstable();
    if !rest.is_empty() {
        for ties in rows.chunk_by_mut(|a, b| a.0 == b.0) {
            if ties.len() > 1 {
                sort_by_words(ties, rest);
            }
        }
    }
}

/// Words of packed keys, the weightiest first; each has one entry per row.
fn pack(columns: &[Column], rows: usize) -> Vec<Vec<u64>> {
    let last = last_present(columns, rows);
    let mut words: Vec<Vec<u64>> = Vec::new();
    let mut free_bits = 0;
    for (c, column) in columns.iter().enumerate() {
        let ranks = column.dictionary.ranks();
        let absent_then_more = ranks.len() as u64 + 1;
        let bits = u64::BITS - absent_then_more.leading_zeros();
        if bits > free_bits {
            words.push(vec![0; rows]);
            free_bits = u64::BITS;
        }
        free_bits -= bits;
        let word = words.last_mut().expect("pushed above");
        for (row, &code) in column.codes.iter().enumerate() {
            let key = match usize::try_from(code) {
                Ok(code) => u64::from(ranks[code]) + 1,
                Err(_) if last[row] > c => absent_then_more,
                Err(_) => 0,
            };
            word[row] |= key << free_bits;
        }
    }
    words
}

/// Per row the number of its last column with a value (0 when there is none, which is as good as column 0).
fn last_present(columns: &[Column], rows: usize) -> Vec<usize> {
    let mut last = vec![0; rows];
    for (c, column) in columns.iter().enumerate() {
        for (last, &code) in last.iter_mut().zip(column.codes.iter()) {
            if code >= 0 {
                *last = c;
            }
        }
    }
    last
}
