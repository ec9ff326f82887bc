//! Classic histograms: quantile and fraction from cumulative buckets.
//!
//! A group holds the bucket rows of one histogram. Its rows are put in the order of their bounds once; at each step
//! the present ones make up the histogram.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::groups::{Groups, Members};
use super::matrix::{Matrix, MatrixIn, PyMatrix, dense1};

/// Relative difference of neighbouring counts that is taken for rounding.
const SMALL_DELTA: f64 = 1e-12;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    bound: f64,
    /// Observations at or below `bound`.
    count: f64,
}

/// What had to be done to make counts rise.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Forced {
    min_bound: f64,
    max_bound: f64,
    max_diff: f64,
}

fn nearly_equal(a: f64, b: f64) -> bool {
    let sum = a.abs() + b.abs();
    let diff = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < SMALL_DELTA * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < SMALL_DELTA
}

/// Lift counts that lie below an earlier one; small differences silently.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if nearly_equal(previous, count) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let diff = previous - count;
            let seen = forced.get_or_insert(Forced {
                min_bound: bucket.bound,
                max_bound: bucket.bound,
                max_diff: diff,
            });
            seen.max_bound = bucket.bound;
            seen.max_diff = seen.max_diff.max(diff);
        } else {
            previous = count;
        }
    }
    forced
}

/// Sum the counts of equal bounds; `buckets` is in order of bounds.
fn merge_equal_bounds(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let equal = next.bound == kept.bound;
        if equal {
            kept.count += next.count;
        }
        equal
    });
}

fn ends_with_inf(buckets: &[Bucket]) -> bool {
    buckets.last().is_some_and(|b| b.bound == f64::INFINITY)
}

/// `buckets` is not empty and in order of bounds.
fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if !(0.0..=1.0).contains(&q) {
        return (
            if q < 0.0 {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            },
            None,
        );
    }
    if !ends_with_inf(buckets) {
        return (f64::NAN, None);
    }
    merge_equal_bounds(buckets);
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 || observations.is_nan() {
        return (f64::NAN, forced);
    }
    let rank = q * observations;
    let at = first_reaching(rank, &buckets[..last]);
    (interpolate(buckets, at, rank), forced)
}

/// First bucket with at least `rank` observations, by the bisection that the reference uses: with NaN among the counts
/// the probes decide.
fn first_reaching(rank: f64, buckets: &[Bucket]) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = (low + high) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The value at `rank` inside bucket `at`.
fn interpolate(buckets: &[Bucket], at: usize, rank: f64) -> f64 {
    if at == buckets.len() - 1 {
        return buckets[at - 1].bound;
    }
    let Bucket { bound, count } = buckets[at];
    if at == 0 {
        if bound <= 0.0 {
            return bound;
        }
        // Added to the lower bound of 0, so that a quantile of -0 gives 0.
        return 0.0 + bound * (rank / count);
    }
    let below = buckets[at - 1];
    below.bound + (bound - below.bound) * ((rank - below.count) / (count - below.count))
}

/// Share of the observations between two values. `buckets` is not empty and in order of bounds.
fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !ends_with_inf(buckets) {
        return f64::NAN;
    }
    merge_equal_bounds(buckets);
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value| match rank_of(value, buckets) {
        Some(rank) if rank > total => total,
        Some(rank) => rank,
        None => total,
    };
    (rank(upper) - rank(lower)) / total
}

/// Observations below `value`, interpolated inside its bucket; None past the last bound.
fn rank_of(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let mut low = if buckets[0].bound <= 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    let mut rank = 0.0;
    for &Bucket { bound, count } in buckets {
        if low >= value {
            return Some(rank);
        }
        if bound > value {
            return Some(if low == f64::NEG_INFINITY {
                count
            } else {
                rank + (count - rank) * (value - low) / (bound - low)
            });
        }
        rank = count;
        low = bound;
    }
    None
}

/// Call `visit(group, step, buckets)` for every histogram with at least one bucket.
fn each_histogram(
    input: &MatrixIn<'_>,
    members: &Members,
    group_count: usize,
    bounds: &[f64],
    mut visit: impl FnMut(usize, usize, &mut Vec<Bucket>),
) {
    let mut buckets = Vec::new();
    for group in 0..group_count {
        for step in 0..input.cols {
            buckets.clear();
            for &row in members.of(group) {
                let (values, mask) = input.row(row);
                if mask[step] {
                    let (bound, count) = (bounds[row], values[step]);
                    buckets.push(Bucket { bound, count });
                }
            }
            if !buckets.is_empty() {
                visit(group, step, &mut buckets);
            }
        }
    }
}

/// Rows of each group in order of their bounds, equal ones (0 and -0 too) as they come. NaN lies at an end.
fn by_bound(groups: &Groups<'_>, bounds: &[f64]) -> PyResult<Members> {
    let mut members = groups.members()?;
    let order = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.total_cmp(&b));
    for group in 0..groups.count {
        let rows = members.of_mut(group);
        rows.sort_by(|&a, &b| order(bounds[a], bounds[b]));
    }
    Ok(members)
}

/// Where counts had to be forced to rise, one entry per histogram: group, step, lowest and highest bound corrected,
/// largest correction.
#[derive(Default)]
struct Corrections {
    group: Vec<i64>,
    step: Vec<i64>,
    min_bound: Vec<f64>,
    max_bound: Vec<f64>,
    max_diff: Vec<f64>,
}

impl Corrections {
    fn push(&mut self, group: usize, step: usize, forced: Forced) {
        self.group.push(group as i64);
        self.step.push(step as i64);
        self.min_bound.push(forced.min_bound);
        self.max_bound.push(forced.max_bound);
        self.max_diff.push(forced.max_diff);
    }
}

type PyCorrections<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
);

fn quantiles(
    q: &[f64],
    groups: &Groups<'_>,
    bounds: &[f64],
    input: &MatrixIn<'_>,
) -> PyResult<(Matrix, Corrections)> {
    let members = by_bound(groups, bounds)?;
    let mut out = Matrix::new(groups.count, input.cols)?;
    let mut corrections = Corrections::default();
    each_histogram(
        input,
        &members,
        groups.count,
        bounds,
        |group, step, buckets| {
            let (value, forced) = bucket_quantile(q[step], buckets);
            let cell = group * input.cols + step;
            (out.values[cell], out.mask[cell]) = (value, true);
            if let Some(forced) = forced {
                corrections.push(group, step, forced);
            }
        },
    );
    Ok((out, corrections))
}

fn fractions(
    (lower, upper): (&[f64], &[f64]),
    groups: &Groups<'_>,
    bounds: &[f64],
    input: &MatrixIn<'_>,
) -> PyResult<Matrix> {
    let members = by_bound(groups, bounds)?;
    let mut out = Matrix::new(groups.count, input.cols)?;
    each_histogram(
        input,
        &members,
        groups.count,
        bounds,
        |group, step, buckets| {
            let cell = group * input.cols + step;
            out.values[cell] = bucket_fraction(lower[step], upper[step], buckets);
            out.mask[cell] = true;
        },
    );
    Ok(out)
}

fn check_lengths(rows: usize, bounds: usize, steps: usize, params: &[usize]) -> PyResult<()> {
    if bounds != rows {
        return Err(PyValueError::new_err("one bucket bound per row is needed"));
    }
    if params.iter().any(|&n| n != steps) {
        return Err(PyValueError::new_err(
            "a parameter needs one value per step",
        ));
    }
    Ok(())
}

#[pyfunction]
pub fn histogram_quantile<'py>(
    py: Python<'py>,
    q: PyReadonlyArray1<'py, f64>,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    bounds: PyReadonlyArray1<'py, f64>,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
) -> PyResult<(PyMatrix<'py>, PyCorrections<'py>)> {
    let input = MatrixIn::new(&values, &mask)?;
    let (q, ids, bounds) = (dense1(&q), dense1(&groups), dense1(&bounds));
    let groups = Groups::new(&ids, group_count, input.rows)?;
    check_lengths(input.rows, bounds.len(), input.cols, &[q.len()])?;
    let (matrix, found) = py.detach(|| quantiles(&q, &groups, &bounds, &input))?;
    let corrections = (
        found.group.into_pyarray(py),
        found.step.into_pyarray(py),
        found.min_bound.into_pyarray(py),
        found.max_bound.into_pyarray(py),
        found.max_diff.into_pyarray(py),
    );
    Ok((matrix.into_py(py)?, corrections))
}

#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn histogram_fraction<'py>(
    py: Python<'py>,
    lower: PyReadonlyArray1<'py, f64>,
    upper: PyReadonlyArray1<'py, f64>,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    bounds: PyReadonlyArray1<'py, f64>,
    values: PyReadonlyArray2<'py, f64>,
    mask: PyReadonlyArray2<'py, bool>,
) -> PyResult<PyMatrix<'py>> {
    let input = MatrixIn::new(&values, &mask)?;
    let (lower, upper) = (dense1(&lower), dense1(&upper));
    let (ids, bounds) = (dense1(&groups), dense1(&bounds));
    let groups = Groups::new(&ids, group_count, input.rows)?;
    let params = [lower.len(), upper.len()];
    check_lengths(input.rows, bounds.len(), input.cols, &params)?;
    py.detach(|| fractions((&lower, &upper), &groups, &bounds, &input))?
        .into_py(py)
}
