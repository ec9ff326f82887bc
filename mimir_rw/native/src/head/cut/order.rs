//! The series of a part in label order, and the texts of their labels.

use super::capture::has_any;
use super::{Range, SLICE};
use crate::head::core::{AppendError, Head};

/// A pair's text: its name's rank, where its value is in `Ordered::values`, and that one's number among the symbols.
#[derive(Clone, Copy)]
struct Text {
    name: u32,
    at: u64,
    len: u32,
    symbol: u32,
}

/// Series by label set, ascending, as ranks of their pairs: a label set is less than another when its ranks are.
pub struct Ordered {
    /// Ascending.
    names: Vec<String>,
    /// Number of each among the symbols.
    name_symbols: Vec<u32>,
    symbol_count: u32,
    values: String,
    /// Of each rank.
    texts: Vec<Text>,
    /// Rows: series and the end of its run in `ranks`.
    series: Vec<(u32, u64, u32)>,
    ranks: Vec<u32>,
}

impl Ordered {
    /// The series that have a chunk which overlaps the range.
    pub fn new(head: &Head, range: Range) -> Result<Self, AppendError> {
        let mut ordered = Ordered {
            names: Vec::new(),
            name_symbols: Vec::new(),
            symbol_count: 0,
            values: String::new(),
            texts: Vec::new(),
            series: Vec::new(),
            ranks: Vec::new(),
        };
        let pairs = ordered.collect(head, range)?;
        let rank_of = ordered.rank(head, pairs)?;
        for pair in &mut ordered.ranks {
            *pair = rank_of[*pair as usize];
        }
        let ranks = &ordered.ranks;
        let run = |row: &(u32, u64, u32)| &ranks[row.1 as usize..row.1 as usize + row.2 as usize];
        ordered.series.sort_unstable_by(|a, b| run(a).cmp(run(b)));
        Ok(ordered)
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    pub fn sid(&self, row: usize) -> u32 {
        self.series[row].0
    }

    /// Numbers of names and values among the symbols, from 1 on.
    pub fn labels(&self, row: usize) -> impl ExactSizeIterator<Item = (u32, u32)> {
        let (_, start, count) = self.series[row];
        let run = &self.ranks[start as usize..start as usize + count as usize];
        run.iter().map(|&rank| {
            let text = &self.texts[rank as usize];
            (self.name_symbols[text.name as usize], text.symbol)
        })
    }

    /// Names and values, each once, ascending.
    pub fn symbols(&self) -> Vec<&str> {
        let mut symbols = vec![""; self.symbol_count as usize];
        for (name, &number) in self.names.iter().zip(&self.name_symbols) {
            symbols[number as usize - 1] = name;
        }
        for text in &self.texts {
            symbols[text.symbol as usize - 1] = self.value(text);
        }
        symbols
    }

    fn number_symbols(&mut self) {
        let names = self.names.iter().map(String::as_str);
        let values = self.texts.iter().map(|text| self.value(text));
        let mut all: Vec<(&str, u32)> = names.chain(values).zip(0..).collect();
        all.sort_unstable();
        let mut numbers = vec![0; all.len()];
        let (mut count, mut last) = (0, None);
        for (symbol, at) in all {
            count += u32::from(last != Some(symbol));
            last = Some(symbol);
            numbers[at as usize] = count;
        }
        let of_texts = numbers.split_off(self.names.len());
        self.name_symbols = numbers;
        self.symbol_count = count;
        for (text, number) in self.texts.iter_mut().zip(of_texts) {
            text.symbol = number;
        }
    }

    fn value(&self, text: &Text) -> &str {
        &self.values[text.at as usize..text.at as usize + text.len as usize]
    }

    /// Take the series with their pairs' ids; which pairs they use.
    fn collect(&mut self, head: &Head, range: Range) -> Result<Vec<bool>, AppendError> {
        let mut used = Vec::new();
        let mut next = 0;
        loop {
            let table = head.table()?;
            used.resize(table.labels.pair_count(), false);
            let end = (next + SLICE).min(table.len() as u32);
            if next == end {
                return Ok(used);
            }
            for sid in next..end {
                if !has_any(&table, sid, range) {
                    continue;
                }
                let set = table.labels.set(sid);
                self.series
                    .push((sid, self.ranks.len() as u64, set.len() as u32));
                self.ranks.extend_from_slice(set);
                set.iter().for_each(|&pair| used[pair as usize] = true);
            }
            next = end;
        }
    }

    /// Copy and rank the texts of these pairs; the rank of each pair.
    fn rank(&mut self, head: &Head, used: Vec<bool>) -> Result<Vec<u32>, AppendError> {
        let mut pairs: Vec<(u32, Text)> = Vec::new();
        let mut names: Vec<Option<String>> = Vec::new();
        let mut wanted = (0..used.len() as u32).filter(|&pair| used[pair as usize]);
        let mut more = true;
        while more {
            let table = head.table()?;
            let labels = &table.labels;
            names.resize(labels.name_count(), None);
            more = false;
            for pair in wanted.by_ref().take(SLICE as usize) {
                more = true;
                let (name, value) = (labels.name_of(pair), labels.value(pair));
                names[name as usize].get_or_insert_with(|| labels.name(name).to_string());
                let at = self.values.len() as u64;
                let len = value.len() as u32;
                self.values.push_str(value);
                let symbol = 0;
                pairs.push((
                    pair,
                    Text {
                        name,
                        at,
                        len,
                        symbol,
                    },
                ));
            }
        }
        let name_rank = self.rank_names(names);
        for (_, text) in &mut pairs {
            text.name = name_rank[text.name as usize];
        }
        pairs.sort_unstable_by(|(_, a), (_, b)| {
            let values = || self.value(a).cmp(self.value(b));
            a.name.cmp(&b.name).then_with(values)
        });
        let mut rank_of = vec![0; used.len()];
        for (rank, (pair, _)) in pairs.iter().enumerate() {
            rank_of[*pair as usize] = rank as u32;
        }
        self.texts = pairs.into_iter().map(|(_, text)| text).collect();
        self.number_symbols();
        Ok(rank_of)
    }

    /// Keep the names that are used, ascending; the rank of each.
    fn rank_names(&mut self, names: Vec<Option<String>>) -> Vec<u32> {
        let mut rank = vec![0; names.len()];
        let used = names.into_iter().enumerate();
        let mut used: Vec<(String, usize)> = used.filter_map(|(id, n)| Some((n?, id))).collect();
        used.sort_unstable();
        for (at, (name, id)) in used.into_iter().enumerate() {
            rank[id] = at as u32;
            self.names.push(name);
        }
        rank
    }
}
