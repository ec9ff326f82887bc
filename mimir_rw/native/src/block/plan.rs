//! Matchers to postings: which lists answer them, and which matchers are cheaper to test on the series themselves.
//!
//! A matcher that refuses the empty value needs its label: the lists of the values that it takes are joined, and what
//! such matchers give is intersected. One that takes the empty value takes series without the label too: the lists of
//! the values that it refuses are taken away. Lists are only read when they are not much longer than the shortest
//! set; the other matchers are tested on labels. Values are only gone through when they are not many more than the
//! series of the shortest set.

use super::BlockError;
use super::postings::{intersect, subtract};
use super::table::{ListSpan, PostingsTable};
use crate::labels::CompiledMatcher;

/// A list of so many ids costs as much as a series that is read in vain: 4 bytes against its labels and chunks.
const IDS_PER_SERIES: u64 = 64;
/// So many values are tested rather than a series read in vain.
const VALUES_PER_SERIES: u64 = 4;

#[derive(Debug)]
struct Group {
    lists: Vec<ListSpan>,
    series: u64,
}

impl Group {
    fn new(lists: Vec<ListSpan>) -> Self {
        let series = lists.iter().map(ListSpan::series).sum();
        Group { lists, series }
    }
}

/// How a selection is answered from postings.
#[derive(Debug, Default)]
pub struct Plan {
    /// The fewest series first; one at least, but where `nothing`.
    take: Vec<Group>,
    drop: Vec<Group>,
    /// To be tested on the series.
    pub filters: Vec<CompiledMatcher>,
    /// No series can match.
    pub nothing: bool,
}

impl Plan {
    pub fn new(table: &PostingsTable, matchers: Vec<CompiledMatcher>) -> Result<Self, BlockError> {
        let mut planner = Planner {
            table,
            take: Vec::new(),
            drop: Vec::new(),
            filters: Vec::new(),
            nothing: false,
        };
        let mut scans = Vec::new();
        for matcher in matchers {
            planner.look_up(matcher, &mut scans)?;
        }
        // Those that need their label first, the fewest values first: they make the shortest set shorter.
        scans.sort_by_key(|m| (m.matches_empty(), table.value_count(m.name())));
        for matcher in scans {
            planner.scan(matcher)?;
        }
        Ok(planner.finish())
    }

    /// The lists to be read, by place, without repeats.
    pub fn spans(&self) -> Vec<ListSpan> {
        let groups = self.take.iter().chain(&self.drop);
        let mut spans: Vec<ListSpan> = groups.flat_map(|group| &group.lists).copied().collect();
        spans.sort_unstable_by_key(|span| span.start);
        spans.dedup();
        spans
    }

    /// The series that the postings give, ascending. read: append the ids of a list.
    pub fn resolve(
        &self,
        mut read: impl FnMut(ListSpan, &mut Vec<u32>) -> Result<(), BlockError>,
    ) -> Result<Vec<u32>, BlockError> {
        let mut join = |group: &Group| -> Result<Vec<u32>, BlockError> {
            let mut ids = Vec::new();
            for &span in &group.lists {
                read(span, &mut ids)?;
            }
            if group.lists.len() > 1 {
                // A series has one value of a name; runs that ascend already are found by the stable sort.
                ids.sort();
                ids.dedup();
            }
            Ok(ids)
        };
        let Some((first, others)) = self.take.split_first().filter(|_| !self.nothing) else {
            return Ok(Vec::new());
        };
        let mut ids = join(first)?;
        for group in others {
            if ids.is_empty() {
                break;
            }
            intersect(&mut ids, &join(group)?);
        }
        for group in &self.drop {
            if ids.is_empty() {
                break;
            }
            subtract(&mut ids, &join(group)?);
        }
        Ok(ids)
    }
}

struct Planner<'t> {
    table: &'t PostingsTable,
    take: Vec<(Group, CompiledMatcher)>,
    drop: Vec<(Group, CompiledMatcher)>,
    filters: Vec<CompiledMatcher>,
    nothing: bool,
}

impl Planner<'_> {
    /// Answer a matcher of known values, or of a label that no series has; put others to `scans`.
    fn look_up(
        &mut self,
        matcher: CompiledMatcher,
        scans: &mut Vec<CompiledMatcher>,
    ) -> Result<(), BlockError> {
        if matcher.passes_all() {
            return Ok(());
        }
        let known = !matcher.name().is_empty() && self.table.value_count(matcher.name()) > 0;
        let takes_empty = matcher.matches_empty();
        match (known, takes_empty) {
            (false, true) => return Ok(()),
            (false, false) => {
                self.nothing = true;
                return Ok(());
            }
            _ => {}
        }
        let literals = match takes_empty {
            true => matcher.excluded_literals(),
            false => matcher.literals(),
        };
        let Some(values) = literals else {
            scans.push(matcher);
            return Ok(());
        };
        let mut lists = Vec::new();
        self.table
            .lookup(matcher.name(), values, |_, span| lists.push(span))?;
        self.add(matcher, lists);
        Ok(())
    }

    fn add(&mut self, matcher: CompiledMatcher, lists: Vec<ListSpan>) {
        match (matcher.matches_empty(), lists.is_empty()) {
            (true, true) => {}
            (true, false) => self.drop.push((Group::new(lists), matcher)),
            (false, true) => self.nothing = true,
            (false, false) => self.take.push((Group::new(lists), matcher)),
        }
    }

    fn fewest(&self) -> Option<u64> {
        self.take.iter().map(|(group, _)| group.series).min()
    }

    /// Go through the values of a label, unless there are too many.
    fn scan(&mut self, matcher: CompiledMatcher) -> Result<(), BlockError> {
        let values = u64::from(self.table.value_count(matcher.name()));
        let fewest = match self.fewest() {
            None if matcher.matches_empty() => Some(self.table.all().map_or(0, |all| all.series())),
            fewest => fewest,
        };
        if self.nothing || fewest.is_some_and(|n| values > VALUES_PER_SERIES * (n + 16)) {
            self.filters.push(matcher);
            return Ok(());
        }
        let takes_empty = matcher.matches_empty();
        let mut lists = Vec::new();
        let prefix = matcher.prefix();
        self.table
            .values_from(matcher.name(), prefix, |value, span| {
                if matcher.matches(value) != takes_empty {
                    lists.push(span);
                }
                prefix.is_empty() || value.starts_with(prefix) || value < prefix
            })?;
        self.add(matcher, lists);
        Ok(())
    }

    fn finish(mut self) -> Plan {
        self.take.sort_by_key(|(group, _)| group.series);
        let fewest = self.fewest();
        let mut plan = Plan {
            nothing: self.nothing,
            filters: self.filters,
            ..Plan::default()
        };
        let all = || self.table.all().map(|span| Group::new(vec![span]));
        if self.take.is_empty() {
            match all() {
                Some(group) => plan.take.push(group),
                None => plan.nothing = true,
            }
        }
        let fewest = fewest.or(plan.take.first().map(|group| group.series));
        let bound = fewest.unwrap_or(0).saturating_mul(IDS_PER_SERIES);
        for (group, matcher) in self.take {
            match group.series <= bound || plan.take.is_empty() {
                true => plan.take.push(group),
                false => plan.filters.push(matcher),
            }
        }
        for (group, matcher) in self.drop {
            match group.series <= bound {
                true => plan.drop.push(group),
                false => plan.filters.push(matcher),
            }
        }
        plan
    }
}
