//! Exemplars of selected series: a row of labels each, with its exemplars in ascending time.

use std::sync::Arc;

use crate::batch::Exemplar;
use crate::head::postings::CanonicalLabels;
use crate::labels::{FrameBuilder, LabelFrame};

#[derive(Debug)]
pub struct Exemplars {
    /// Sorted, distinct.
    pub labels: LabelFrame,
    /// Exemplars of row i: `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<usize>,
    pub items: Vec<Arc<Exemplar>>,
}

impl Exemplars {
    /// Rows in any order, their labels distinct.
    pub fn new(labels: &LabelFrame, rows: &[Vec<Arc<Exemplar>>]) -> Self {
        let by_labels = labels.sort_order();
        let (mut offsets, mut items) = (vec![0], Vec::new());
        for &row in &by_labels {
            items.extend_from_slice(&rows[row as usize]);
            offsets.push(items.len());
        }
        Exemplars {
            labels: labels.take(by_labels.iter().map(|&row| row as usize)),
            offsets,
            items,
        }
    }

    /// Labels of the exemplars themselves, a row each.
    pub fn exemplar_labels(&self) -> LabelFrame {
        let mut frame = FrameBuilder::default();
        for exemplar in &self.items {
            for (name, value) in CanonicalLabels::new(&exemplar.labels).flatten() {
                frame.label(name, value);
            }
            frame.end_row();
        }
        frame.finish()
    }
}
