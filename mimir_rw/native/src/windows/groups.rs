//! Assignment of rows to groups.

use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

use super::matrix::filled;

/// Group of each row; a negative id leaves the row out.
pub struct Groups<'a> {
    ids: &'a [i64],
    pub count: usize,
}

impl<'a> Groups<'a> {
    /// Raises ValueError for an id of `count` or more and for a length other than `rows`.
    pub fn new(ids: &'a [i64], count: usize, rows: usize) -> PyResult<Self> {
        if ids.len() != rows {
            return Err(PyValueError::new_err("one group id per row is needed"));
        }
        if ids
            .iter()
            .any(|&id| id >= 0 && usize::try_from(id).is_ok_and(|id| id >= count))
        {
            return Err(PyValueError::new_err(
                "group id is not below the number of groups",
            ));
        }
        Ok(Self { ids, count })
    }

    /// The rows that belong to a group, in order, with it.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let ids = self.ids.iter().enumerate();
        ids.filter_map(|(row, &id)| usize::try_from(id).ok().map(|group| (row, group)))
    }

    /// Rows by group.
    pub fn members(&self) -> PyResult<Members> {
        let mut ends = filled(self.count + 1, 0usize)?;
        for (_, group) in self.rows() {
            ends[group + 1] += 1;
        }
        for group in 0..self.count {
            ends[group + 1] += ends[group];
        }
        let mut next = ends.clone();
        let mut rows = filled(ends[self.count], 0usize)?;
        for (row, group) in self.rows() {
            rows[next[group]] = row;
            next[group] += 1;
        }
        Ok(Members { ends, rows })
    }
}

/// Rows of each group, ascending.
pub struct Members {
    ends: Vec<usize>,
    rows: Vec<usize>,
}

impl Members {
    pub fn of(&self, group: usize) -> &[usize] {
        &self.rows[self.ends[group]..self.ends[group + 1]]
    }

    pub fn of_mut(&mut self, group: usize) -> &mut [usize] {
        &mut self.rows[self.ends[group]..self.ends[group + 1]]
    }

    /// Size of the largest group.
    pub fn widest(&self) -> usize {
        self.ends.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
    }
}
