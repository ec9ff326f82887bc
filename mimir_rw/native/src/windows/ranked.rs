//! Selection of rows by group: topk, bottomk, limitk; and count_values.
//!
//! topk keeps, per group and step, a binary heap of at most k rows with the worst on top, filled in row order: ties
//! at the edge are decided by the heap's shape, as in the reference.

use std::collections::HashMap;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::groups::Groups;
use super::matrix::{Matrix, MatrixIn, PyMatrix, cells, dense1, filled, into_array2};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    Top,
    Bottom,
    First,
}

impl Pick {
    fn parse(op: &str) -> PyResult<Self> {
        match op {
            "topk" => Ok(Self::Top),
            "bottomk" => Ok(Self::Bottom),
            "limitk" => Ok(Self::First),
            _ => Err(PyValueError::new_err(format!("no selection {op:?}"))),
        }
    }

    fn worse(self, a: f64, b: f64) -> bool {
        match self {
            Self::Top => a < b,
            Self::Bottom => a > b,
            Self::First => false,
        }
    }

    /// Heap order: NaN is worst.
    fn below(self, a: Entry, b: Entry) -> bool {
        a.0.is_nan() || self.worse(a.0, b.0)
    }
}

/// Value and row.
type Entry = (f64, usize);

fn sift_up(heap: &mut [Entry], pick: Pick) {
    let mut child = heap.len() - 1;
    while child > 0 {
        let parent = (child - 1) / 2;
        if !pick.below(heap[child], heap[parent]) {
            break;
        }
        heap.swap(child, parent);
        child = parent;
    }
}

fn sift_down(heap: &mut [Entry], pick: Pick) {
    let mut parent = 0;
    loop {
        let left = 2 * parent + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child = if right < heap.len() && pick.below(heap[right], heap[left]) {
            right
        } else {
            left
        };
        if !pick.below(heap[child], heap[parent]) {
            break;
        }
        heap.swap(parent, child);
        parent = child;
    }
}

/// A heap for every group and step in one allocation; a group's heaps have room for its rows or the largest k,
/// whichever is less.
struct Heaps {
    entries: Vec<Entry>,
    len: Vec<usize>,
    /// Entries before each group's heaps, and room of each of its heaps.
    layout: Vec<(usize, usize)>,
    steps: usize,
}

impl Heaps {
    fn new(k_max: usize, groups: &Groups<'_>, steps: usize) -> PyResult<Self> {
        let mut layout = filled(groups.count, (0, 0))?;
        for (_, group) in groups.rows() {
            layout[group].1 = (layout[group].1 + 1).min(k_max);
        }
        let mut total = 0;
        for (before, room) in &mut layout {
            *before = total;
            total += cells(*room, steps)?;
        }
        Ok(Self {
            entries: filled(total, (0.0, 0))?,
            len: filled(cells(groups.count, steps)?, 0)?,
            layout,
            steps,
        })
    }

    fn of(&mut self, group: usize, step: usize) -> &mut [Entry] {
        let (before, room) = self.layout[group];
        let start = before + step * room;
        &mut self.entries[start..start + self.len[group * self.steps + step]]
    }

    /// Offer an entry to a heap that may hold `k`.
    fn offer(&mut self, (group, step): (usize, usize), entry: Entry, k: usize, pick: Pick) {
        let len = &mut self.len[group * self.steps + step];
        if *len < k {
            *len += 1;
            let heap = self.of(group, step);
            heap[heap.len() - 1] = entry;
            sift_up(heap, pick);
            return;
        }
        let heap = self.of(group, step);
        let Some(&(worst, _)) = heap.first() else {
            return;
        };
        // The first k stay, whatever they are.
        let nan_goes = pick != Pick::First && worst.is_nan() && !entry.0.is_nan();
        if pick.worse(worst, entry.0) || nan_goes {
            heap[0] = entry;
            sift_down(heap, pick);
        }
    }
}

/// Best first, NaN last; equal values stay in heap order.
fn best_first(heap: &mut [Entry], pick: Pick) {
    heap.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Greater,
        (false, true) => std::cmp::Ordering::Less,
        (false, false) if pick.worse(b.0, a.0) => std::cmp::Ordering::Less,
        (false, false) if pick.worse(a.0, b.0) => std::cmp::Ordering::Greater,
        (false, false) => std::cmp::Ordering::Equal,
    });
}

/// Kept cells, and the kept rows of the first step in the order of an instant result.
type Picked = (Vec<bool>, Vec<i64>);

fn pick_rows(
    pick: Pick,
    k: &[usize],
    groups: &Groups<'_>,
    input: &MatrixIn<'_>,
) -> PyResult<Picked> {
    let mut kept = filled(cells(input.rows, input.cols)?, false)?;
    let k_max = k.iter().copied().max().unwrap_or(0);
    let mut heaps = Heaps::new(k_max, groups, input.cols)?;
    for (row, group) in groups.rows() {
        let (values, mask) = input.row(row);
        for step in 0..input.cols {
            if mask[step] {
                heaps.offer((group, step), (values[step], row), k[step], pick);
            }
        }
    }
    let mut order = Vec::new();
    for group in 0..groups.count {
        for step in 0..input.cols {
            let heap = heaps.of(group, step);
            for &(_, row) in &*heap {
                kept[row * input.cols + step] = true;
            }
            if step == 0 {
                best_first(heap, pick);
                order.extend(heap.iter().map(|&(_, row)| row as i64));
            }
        }
    }
    Ok((kept, order))
}

#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn select_k<'py>(
    py: Python<'py>,
    op: &str,
    k: PyReadonlyArray1<'py, i64>,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
) -> PyResult<(Bound<'py, PyArray2<bool>>, Bound<'py, PyArray1<i64>>)> {
    let pick = Pick::parse(op)?;
    let input = MatrixIn::new(&values, &mask)?;
    let (k, ids) = (dense1(&k), dense1(&groups));
    let groups = Groups::new(&ids, group_count, input.rows)?;
    if k.len() != input.cols {
        return Err(PyValueError::new_err("one k per step is needed"));
    }
    let k: Vec<usize> = k.iter().map(|&k| usize::try_from(k).unwrap_or(0)).collect();
    let (kept, order) = py.detach(|| pick_rows(pick, &k, &groups, &input))?;
    let kept = into_array2(py, (input.rows, input.cols), kept)?;
    Ok((kept, order.into_pyarray(py)))
}

/// Distinct values of each group, in order of first appearance row by row, and how often each occurs at each step.
struct Tally {
    groups: Vec<i64>,
    values: Vec<f64>,
    counts: Vec<f64>,
}

/// Values are distinct when their shortest decimals are: all NaN are one value, 0 and -0 are two.
fn identity(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn tally(groups: &Groups<'_>, input: &MatrixIn<'_>) -> PyResult<Tally> {
    let mut seen: HashMap<(usize, u64), usize> = HashMap::new();
    let mut out = Tally {
        groups: Vec::new(),
        values: Vec::new(),
        counts: Vec::new(),
    };
    for (row, group) in groups.rows() {
        let (values, mask) = input.row(row);
        for (step, &value) in values.iter().enumerate().filter(|&(step, _)| mask[step]) {
            let next = out.groups.len();
            let at = *seen.entry((group, identity(value))).or_insert(next);
            if at == next {
                out.groups.push(group as i64);
                out.values.push(value);
                out.counts
                    .try_reserve(input.cols)
                    .map_err(|e| pyo3::exceptions::PyMemoryError::new_err(e.to_string()))?;
                out.counts.resize(out.counts.len() + input.cols, 0.0);
            }
            out.counts[at * input.cols + step] += 1.0;
        }
    }
    Ok(out)
}

#[pyfunction]
#[allow(clippy::type_complexity)]
pub fn count_values<'py>(
    py: Python<'py>,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
) -> PyResult<(
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    PyMatrix<'py>,
)> {
    let input = MatrixIn::new(&values, &mask)?;
    let ids = dense1(&groups);
    let groups = Groups::new(&ids, group_count, input.rows)?;
    let (found, matrix) = py.detach(|| -> PyResult<_> {
        let found = tally(&groups, &input)?;
        let mut matrix = Matrix::new(found.groups.len(), input.cols)?;
        for (i, &n) in found.counts.iter().enumerate() {
            (matrix.values[i], matrix.mask[i]) = (n, n > 0.0);
        }
        Ok((found, matrix))
    })?;
    Ok((
        found.groups.into_pyarray(py),
        found.values.into_pyarray(py),
        matrix.into_py(py)?,
    ))
}
