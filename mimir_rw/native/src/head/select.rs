//! Matchers to series, and series to label frames, over one table.
//!
//! Series are found from the postings of the cheapest matcher that needs its label; the others are tested on those
//! candidates only, each distinct value once. Only a selector whose every matcher accepts an absent label walks all
//! series.

use std::cell::RefCell;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::series::SeriesTable;
use crate::batch::Exemplar;
use crate::labels::{CompiledMatcher, Dictionary, LabelFrame};

/// Series that match all of `matchers` and may have a sample in mint..=maxt; ascending numbers.
pub fn find(table: &SeriesTable, matchers: &[CompiledMatcher], mint: i64, maxt: i64) -> Vec<u32> {
    let tests: Vec<Test<'_>> = matchers.iter().map(|m| Test::new(table, m)).collect();
    let base = tests
        .iter()
        .enumerate()
        .filter(|(_, test)| !test.accepts_absent)
        .min_by_key(|(_, test)| test.cost(table));
    let in_range = |sid: &u32| table.may_have(*sid, mint, maxt);
    let Some((at, base)) = base else {
        let all = 0..table.len() as u32;
        let passes = |sid: &u32| in_range(sid) && tests.iter().all(|t| t.passes(table, *sid));
        return all.filter(passes).collect();
    };
    let others: Vec<&Test<'_>> = tests
        .iter()
        .enumerate()
        .filter_map(|(i, test)| (i != at).then_some(test))
        .collect();
    let mut found = Vec::new();
    let pairs = base.matching_pairs(table);
    for &pair in &pairs {
        let candidates = table.labels.series_of(pair).iter().copied();
        let passes = |sid: &u32| others.iter().all(|t| t.passes(table, *sid)) && in_range(sid);
        found.extend(candidates.filter(passes));
    }
    if pairs.len() > 1 {
        // A series has one value per name: the runs are disjoint.
        found.sort_unstable();
    }
    found
}

struct Test<'m> {
    matcher: &'m CompiledMatcher,
    /// The label's name, if any series has it.
    name: Option<u32>,
    accepts_absent: bool,
    /// The pairs that match, when a lookup gives them.
    looked_up: Option<Vec<u32>>,
    /// What `matches` said of the pairs asked about so far.
    seen: RefCell<HashMap<u32, bool>>,
}

impl<'m> Test<'m> {
    fn new(table: &SeriesTable, matcher: &'m CompiledMatcher) -> Self {
        let name = table.labels.find_name(matcher.name());
        let looked_up = matcher.literals().map(|values| {
            let pair = |value: &String| table.labels.find_pair(name?, value);
            values.iter().filter_map(pair).collect()
        });
        Test {
            matcher,
            name,
            accepts_absent: matcher.matches_empty(),
            looked_up,
            seen: RefCell::default(),
        }
    }

    /// Series and values to look at when this one leads.
    fn cost(&self, table: &SeriesTable) -> usize {
        let series = |pairs: &[u32]| -> usize {
            pairs.iter().map(|&p| table.labels.series_of(p).len()).sum()
        };
        match (&self.looked_up, self.name) {
            (Some(pairs), _) => series(pairs),
            (None, None) => 0,
            // Every value must be tested; that costs more than a candidate does.
            (None, Some(name)) => {
                table.len().min(4 * table.labels.pairs_of(name).len()) + table.len() / 2
            }
        }
    }

    fn matching_pairs(&self, table: &SeriesTable) -> Vec<u32> {
        match (&self.looked_up, self.name) {
            (Some(pairs), _) => pairs.clone(),
            (None, None) => Vec::new(),
            (None, Some(name)) => {
                let pairs = table.labels.pairs_of(name).iter().copied();
                pairs
                    .filter(|&p| self.matcher.matches(table.labels.value(p)))
                    .collect()
            }
        }
    }

    fn passes(&self, table: &SeriesTable, sid: u32) -> bool {
        let Some(name) = self.name else {
            return self.accepts_absent;
        };
        let set = table.labels.set(sid);
        if let (Some([only]), false) = (self.looked_up.as_deref(), self.accepts_absent) {
            return set.contains(only);
        }
        match set.iter().find(|&&pair| table.labels.name_of(pair) == name) {
            None => self.accepts_absent,
            Some(&pair) => *self
                .seen
                .borrow_mut()
                .entry(pair)
                .or_insert_with(|| self.matcher.matches(table.labels.value(pair))),
        }
    }
}

/// Series that match any of the sets and have exemplars with mint <= t <= maxt, and these exemplars.
pub fn exemplars(
    table: &SeriesTable,
    sets: &[Vec<CompiledMatcher>],
    mint: i64,
    maxt: i64,
) -> (LabelFrame, Vec<Vec<Arc<Exemplar>>>) {
    let matching = sets
        .iter()
        .flat_map(|set| find(table, set, i64::MIN, i64::MAX));
    let matching: HashSet<u32> = matching.collect();
    let (mut sids, mut rows) = (Vec::new(), Vec::new());
    for sid in table.exemplars.series() {
        let row =
            || -> Vec<Arc<Exemplar>> { table.exemplars.of(sid, mint, maxt).cloned().collect() };
        if matching.contains(&sid)
            && let row = row()
            && !row.is_empty()
        {
            sids.push(sid);
            rows.push(row);
        }
    }
    (label_frame(table, &sids), rows)
}

/// Label sets of the series in the given order.
pub fn label_frame(table: &SeriesTable, sids: &[u32]) -> LabelFrame {
    let labels = &table.labels;
    // Code + 1 of a pair in its column; zeroed pages are not touched before they are used.
    let mut code_of = vec![0u32; labels.pair_count()];
    let mut columns: Vec<Option<(Vec<u32>, Vec<i32>)>> = Vec::new();
    columns.resize_with(labels.name_count(), || None);
    for (row, &sid) in sids.iter().enumerate() {
        for &pair in labels.set(sid) {
            let (dictionary, codes) = columns[labels.name_of(pair) as usize]
                .get_or_insert_with(|| (Vec::new(), vec![-1; sids.len()]));
            let code = &mut code_of[pair as usize];
            if *code == 0 {
                dictionary.push(pair);
                *code = dictionary.len() as u32;
            }
            codes[row] = *code as i32 - 1;
        }
    }
    let columns = columns
        .into_iter()
        .enumerate()
        .filter_map(|(name, column)| {
            let (pairs, codes) = column?;
            let values = pairs.iter().map(|&pair| labels.value(pair));
            let dictionary = Arc::new(Dictionary::from_distinct(values));
            Some((Arc::from(labels.name(name as u32)), dictionary, codes))
        });
    LabelFrame::from_columns(sids.len(), columns.collect())
}

/// Names of the labels that any of the series has, sorted.
pub fn label_names(table: &SeriesTable, sids: &[u32]) -> Vec<String> {
    let labels = &table.labels;
    let mut has = vec![false; labels.name_count()];
    for &sid in sids {
        for &pair in labels.set(sid) {
            has[labels.name_of(pair) as usize] = true;
        }
    }
    let ids = (0..labels.name_count() as u32).filter(|&name| has[name as usize]);
    sorted(ids.map(|name| labels.name(name).to_string()).collect())
}

pub fn all_label_names(table: &SeriesTable) -> Vec<String> {
    let labels = &table.labels;
    let names = 0..labels.name_count() as u32;
    sorted(names.map(|name| labels.name(name).to_string()).collect())
}

/// Values of a label among the series, sorted.
pub fn label_values(table: &SeriesTable, name: &str, sids: &[u32]) -> Vec<String> {
    let labels = &table.labels;
    let Some(name) = labels.find_name(name) else {
        return Vec::new();
    };
    let mut has = vec![false; labels.pair_count()];
    let mut values = Vec::new();
    for &sid in sids {
        for &pair in labels.set(sid) {
            if labels.name_of(pair) == name && !std::mem::replace(&mut has[pair as usize], true) {
                values.push(labels.value(pair).to_string());
            }
        }
    }
    sorted(values)
}

pub fn all_label_values(table: &SeriesTable, name: &str) -> Vec<String> {
    let labels = &table.labels;
    let pairs = labels
        .find_name(name)
        .map_or(&[][..], |name| labels.pairs_of(name));
    sorted(
        pairs
            .iter()
            .map(|&pair| labels.value(pair).to_string())
            .collect(),
    )
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}
