//! Sums and means of histograms by group and step; floats among the elements spoil them.
//!
//! All rows at once, one cell after the other; or batch after batch, with the state of every cell kept between them. The
//! results are the same to the bit: what counts is the order of rows within a cell.

use numpy::{IntoPyArray, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arithmetic::Noted;
use super::compensated::{HistogramMean, HistogramSum};
use super::operators::{CellsIn, CellsOut, PyFlags};
use super::{FloatHistogram, HistogramColumn};
use crate::windows::groups::Groups;
use crate::windows::matrix::{cells, dense1, dense2, filled, into_array2};

/// A sum or mean under construction.
enum Running {
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl Running {
    fn new(mean: bool, first: &FloatHistogram) -> Self {
        match mean {
            true => Self::Mean(HistogramMean::new(first)),
            false => Self::Sum(HistogramSum::new(first)),
        }
    }

    /// False when the histograms do not go together.
    fn add(&mut self, histogram: &FloatHistogram) -> bool {
        let added = match self {
            Self::Sum(sum) => sum.add(histogram),
            Self::Mean(mean) => mean.add(histogram),
        };
        added.is_ok()
    }

    fn noted(&self) -> Noted {
        match self {
            Self::Sum(sum) => sum.noted(),
            Self::Mean(mean) => mean.noted(),
        }
    }

    fn byte_size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Sum(sum) => sum.byte_size(),
                Self::Mean(mean) => mean.byte_size(),
            }
    }

    fn finish(self) -> FloatHistogram {
        let mut result = match self {
            Self::Sum(sum) => sum.finish(),
            Self::Mean(mean) => mean.finish(),
        };
        result.compact();
        result
    }
}

/// A group at a step.
#[derive(Default)]
struct Cell {
    running: Option<Box<Running>>,
    floats: bool,
    histograms: bool,
    /// Some histogram did not go with those before it: nothing that comes counts.
    failed: bool,
}

impl Cell {
    fn float(&mut self) {
        self.floats |= !self.failed;
    }

    /// False for the one that does not go with the others.
    fn histogram(&mut self, mean: bool, histogram: &FloatHistogram) -> bool {
        if self.failed {
            return true;
        }
        self.histograms = true;
        match &mut self.running {
            // After a float first the group is mixed, whatever comes.
            None if self.floats => {}
            None => self.running = Some(Running::new(mean, histogram).into()),
            Some(total) => self.failed = !total.add(histogram),
        }
        !self.failed
    }

    fn finish(self, met: &mut Met) -> Option<FloatHistogram> {
        met.mixed |= self.floats && self.histograms;
        let running = self.running?;
        let noted = running.noted();
        met.noted.bounds_reconciled |= noted.bounds_reconciled;
        if self.floats || self.failed {
            return None;
        }
        met.noted.reset_collision |= noted.reset_collision;
        Some(running.finish())
    }
}

/// What the aggregation of groups met.
#[derive(Default)]
struct Met {
    /// A group had floats and histograms at a step.
    mixed: bool,
    noted: Noted,
}

impl Met {
    fn flags(&self) -> (bool, bool, bool) {
        (
            self.mixed,
            self.noted.reset_collision,
            self.noted.bounds_reconciled,
        )
    }
}

fn is_mean(op: &str) -> PyResult<bool> {
    match op {
        "sum" => Ok(false),
        "avg" => Ok(true),
        _ => Err(PyValueError::new_err(format!("no aggregation {op:?}"))),
    }
}

type PyAggregate<'py> = (
    HistogramColumn,
    Bound<'py, PyArray2<i32>>,
    (bool, bool, bool),
    PyFlags<'py>,
);

#[pyfunction]
pub fn aggregate_histograms<'py>(
    py: Python<'py>,
    op: &str,
    groups: PyReadonlyArray1<'py, i64>,
    group_count: usize,
    column: &Bound<'py, HistogramColumn>,
    index: PyReadonlyArray2<'py, i32>,
    floats: PyReadonlyArray2<'py, bool>,
) -> PyResult<PyAggregate<'py>> {
    let mean = is_mean(op)?;
    let input = CellsIn::new(column.get(), &index)?;
    input.same_shape((floats.shape()[0], floats.shape()[1]), "floats")?;
    let (floats, ids) = (dense2(&floats), dense1(&groups));
    let groups = Groups::new(&ids, group_count, input.rows)?;
    let (out, met, incompatible) = py.detach(|| -> PyResult<_> {
        let members = groups.members()?;
        let mut out = CellsOut::new(groups.count, input.cols)?;
        let mut met = Met::default();
        let mut incompatible = filled(input.rows, false)?;
        for group in 0..groups.count {
            for step in 0..input.cols {
                let mut cell = Cell::default();
                for &row in members.of(group) {
                    if floats[row * input.cols + step] {
                        cell.float();
                    } else if let Some(histogram) = input.at(input.row(row)[step]) {
                        incompatible[row] |= !cell.histogram(mean, histogram);
                    }
                }
                if let Some(result) = cell.finish(&mut met) {
                    out.put(group, step, result.into())?;
                }
            }
        }
        Ok((out, met, incompatible))
    })?;
    let (column, index) = out.into_py(py)?;
    Ok((column, index, met.flags(), incompatible.into_pyarray(py)))
}

/// The same for rows that come batch after batch.
#[pyclass(module = "mimir_rw._native")]
pub struct HistogramAccumulator {
    mean: bool,
    steps: usize,
    groups: usize,
    cells: Vec<Cell>,
}

type PyAccumulated<'py> = (
    HistogramColumn,
    Bound<'py, PyArray2<i32>>,
    (bool, bool, bool),
    Bound<'py, PyArray2<bool>>,
);

#[pymethods]
impl HistogramAccumulator {
    #[new]
    fn py_new(op: &str, steps: usize) -> PyResult<Self> {
        Ok(Self {
            mean: is_mean(op)?,
            steps,
            groups: 0,
            cells: Vec::new(),
        })
    }

    #[getter]
    fn nbytes(&self) -> usize {
        let running = self.cells.iter().filter_map(|cell| cell.running.as_ref());
        size_of_val(self.cells.as_slice()) + running.map(|each| each.byte_size()).sum::<usize>()
    }

    fn add<'py>(
        &mut self,
        py: Python<'py>,
        groups: PyReadonlyArray1<'py, i64>,
        group_count: usize,
        floats: PyReadonlyArray2<'py, bool>,
        histograms: Option<(Bound<'py, HistogramColumn>, PyReadonlyArray2<'py, i32>)>,
    ) -> PyResult<PyFlags<'py>> {
        let (rows, steps) = (floats.shape()[0], floats.shape()[1]);
        if steps != self.steps {
            return Err(PyValueError::new_err("rows of another number of steps"));
        }
        let input = match &histograms {
            Some((column, index)) => Some(CellsIn::new(column.get(), index)?),
            None => None,
        };
        if let Some(input) = &input {
            input.same_shape((rows, steps), "floats")?;
        }
        let (floats, ids) = (dense2(&floats), dense1(&groups));
        let groups = Groups::new(&ids, group_count.max(self.groups), rows)?;
        let size = cells(groups.count, steps)?;
        self.groups = groups.count;
        let incompatible = py.detach(|| -> PyResult<_> {
            self.cells.resize_with(size, Cell::default);
            let mut incompatible = filled(rows, false)?;
            for (row, group) in groups.rows() {
                let cells = &mut self.cells[group * steps..(group + 1) * steps];
                for (step, cell) in cells.iter_mut().enumerate() {
                    let histogram = |input: &CellsIn<'_>| input.at(input.row(row)[step]).cloned();
                    if floats[row * steps + step] {
                        cell.float();
                    } else if let Some(histogram) = input.as_ref().and_then(histogram) {
                        incompatible[row] |= !cell.histogram(self.mean, &histogram);
                    }
                }
            }
            Ok(incompatible)
        })?;
        Ok(incompatible.into_pyarray(py))
    }

    /// To be called once.
    fn finish<'py>(&mut self, py: Python<'py>) -> PyResult<PyAccumulated<'py>> {
        let (cells, shape) = (std::mem::take(&mut self.cells), (self.groups, self.steps));
        let (out, met, present) = py.detach(|| -> PyResult<_> {
            let mut out = CellsOut::new(shape.0, shape.1)?;
            let mut met = Met::default();
            let mut present = filled(cells.len(), false)?;
            for (at, cell) in cells.into_iter().enumerate() {
                present[at] = cell.histograms;
                if let Some(result) = cell.finish(&mut met) {
                    out.put(at / shape.1, at % shape.1, result.into())?;
                }
            }
            Ok((out, met, present))
        })?;
        let (column, index) = out.into_py(py)?;
        Ok((column, index, met.flags(), into_array2(py, shape, present)?))
    }
}
