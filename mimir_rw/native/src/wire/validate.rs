//! Validation of label sets, and the texts about what was refused.
//!
//! Ids are Mimir's catalogue entries without `err-mimir-`. Texts name the setting to raise and show the series
//! shortened to a bound, whatever the sender put into it.

use std::fmt::Write;

use super::known::LabelLimits;
use super::proto::{Reader, Result, Wire};
use super::series::{LabelSpan, METRIC_NAME, read_label};

/// Series are shown with at most about this many bytes.
const SHOWN_BYTES_MAX: usize = 400;
/// A name or value within a shown series is cut after this many bytes.
const SHOWN_VALUE_BYTES_MAX: usize = 100;

/// Why a label set is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    MissingMetricName,
    MetricNameInvalid,
    LabelNames,
    InfoLabelNames,
    /// The others carry the position of the label in `LabelSet::labels`.
    NameInvalid(usize),
    NameTooLong(usize),
    ValueInvalid(usize),
    ValueTooLong(usize),
    Duplicate(usize),
}

impl Fault {
    pub fn id(self) -> &'static str {
        match self {
            Fault::MissingMetricName => "missing-metric-name",
            Fault::MetricNameInvalid => "metric-name-invalid",
            Fault::LabelNames => "max-label-names-per-series",
            Fault::InfoLabelNames => "max-label-names-per-info-series",
            Fault::NameInvalid(_) => "label-invalid",
            Fault::NameTooLong(_) => "label-name-too-long",
            Fault::ValueInvalid(_) => "label-value-invalid",
            Fault::ValueTooLong(_) => "label-value-too-long",
            Fault::Duplicate(_) => "duplicate-label-names",
        }
    }
}

/// The labels of one series as sent, without those of empty value, sorted by name. Reused from series to series.
#[derive(Default)]
pub struct LabelSet {
    labels: Vec<LabelSpan>,
    /// Labels with a value, also those beyond what `labels` holds.
    count: usize,
    /// No two names are equal.
    distinct: bool,
    canonical: bool,
}

impl LabelSet {
    /// Read field 1 of the message `buf[start..end]`; other fields are skipped. Labels beyond what any limit allows
    /// are counted, not kept.
    pub fn read(
        &mut self,
        buf: &[u8],
        start: usize,
        end: usize,
        limits: &LabelLimits,
    ) -> Result<()> {
        let kept_max = limits.label_names_max.max(limits.info_label_names_max);
        self.labels.clear();
        self.count = 0;
        let mut canonical_bytes = 0;
        let mut name_is_first = true;
        let mut reader = Reader::within(buf, start, end);
        while let Some((number, wire)) = reader.field()? {
            if (number, wire) != (1, Wire::Bytes) {
                reader.skip(number, wire)?;
                continue;
            }
            let (from, to) = reader.bytes()?;
            let label = read_label(buf, from, to)?;
            if label.has_value() {
                self.count += 1;
                canonical_bytes += label.canonical_bytes();
                name_is_first &= label.name_is_first();
                if self.count <= kept_max || label.name(buf) == METRIC_NAME {
                    self.labels.push(label);
                }
            }
        }
        self.distinct = self.labels.is_sorted_by(|a, b| a.name(buf) < b.name(buf));
        // Whatever else deviates from the canonical encoding (a label without value, a field given twice, an unknown
        // one, a longer varint) takes bytes of its own.
        self.canonical = self.distinct && name_is_first && canonical_bytes == end - start;
        if !self.distinct {
            self.labels.sort_by(|a, b| a.name(buf).cmp(b.name(buf)));
        }
        Ok(())
    }

    /// The bytes that `read` read are the canonical encoding of the labels.
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }

    pub fn iter<'a>(
        &self,
        buf: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a, '_> {
        self.labels.iter().map(|l| (l.name(buf), l.value(buf)))
    }

    fn metric_name<'a>(&self, buf: &'a [u8]) -> Option<&'a [u8]> {
        self.iter(buf)
            .find_map(|(name, value)| (name == METRIC_NAME).then_some(value))
    }

    /// The first fault in the order that Mimir looks for them.
    pub fn check(&self, buf: &[u8], limits: &LabelLimits) -> std::result::Result<(), Fault> {
        let metric = self.metric_name(buf).ok_or(Fault::MissingMetricName)?;
        if !valid_metric_name(metric, limits.utf8_names) {
            return Err(Fault::MetricNameInvalid);
        }
        if metric.ends_with(b"_info") {
            if self.count > limits.info_label_names_max {
                return Err(Fault::InfoLabelNames);
            }
        } else if self.count > limits.label_names_max {
            return Err(Fault::LabelNames);
        }
        let mut last: Option<&[u8]> = None;
        for (i, (name, value)) in self.iter(buf).enumerate() {
            if !valid_label_name(name, limits.utf8_names) {
                return Err(Fault::NameInvalid(i));
            }
            if name.len() > limits.name_bytes_max {
                return Err(Fault::NameTooLong(i));
            }
            if !value.is_ascii() && std::str::from_utf8(value).is_err() {
                return Err(Fault::ValueInvalid(i));
            }
            if value.len() > limits.value_bytes_max {
                return Err(Fault::ValueTooLong(i));
            }
            if !self.distinct && last == Some(name) {
                return Err(Fault::Duplicate(i));
            }
            last = Some(name);
        }
        Ok(())
    }

    /// The text about a fault that `check` found.
    pub fn explain(&self, buf: &[u8], limits: &LabelLimits, fault: Fault) -> String {
        let series = self.show(buf);
        let name = |i: usize| cut(self.labels[i].name(buf));
        let value = |i: usize| cut(self.labels[i].value(buf));
        match fault {
            Fault::MissingMetricName => format!("series {series} has no metric name"),
            Fault::MetricNameInvalid => format!(
                "metric name {:?} is not valid, in series {series}",
                cut(self.metric_name(buf).unwrap_or_default())
            ),
            Fault::LabelNames => format!(
                "series {series} has {} labels and the limit is {}; {}",
                self.count,
                limits.label_names_max,
                adjust("validation.max-label-names-per-series")
            ),
            Fault::InfoLabelNames => format!(
                "info series {series} has {} labels and the limit is {}; {}",
                self.count,
                limits.info_label_names_max,
                adjust("validation.max-label-names-per-info-series")
            ),
            Fault::NameInvalid(i) => {
                format!("label name {:?} is not valid, in series {series}", name(i))
            }
            Fault::NameTooLong(i) => format!(
                "label name {:?} has {} bytes and the limit is {}, in series {series}; {}",
                name(i),
                self.labels[i].name(buf).len(),
                limits.name_bytes_max,
                adjust("validation.max-length-label-name")
            ),
            Fault::ValueInvalid(i) => format!(
                "the value {:?} of label {:?} is not valid UTF-8, in series {series}",
                value(i),
                name(i)
            ),
            Fault::ValueTooLong(i) => format!(
                "the value {:?} of label {:?} has {} bytes and the limit is {}, in series {series}; {}",
                value(i),
                name(i),
                self.labels[i].value(buf).len(),
                limits.value_bytes_max,
                adjust("validation.max-length-label-value")
            ),
            Fault::Duplicate(i) => {
                format!("label name {:?} occurs twice, in series {series}", name(i))
            }
        }
    }

    pub fn show(&self, buf: &[u8]) -> String {
        show_series(self.iter(buf))
    }
}

/// How to change a tenant's limit, as the end of a text.
pub fn adjust(flag: &str) -> String {
    format!(
        "to change it, set -{flag} or the tenant's override, or contact your service administrator"
    )
}

/// The same for a limit of the process.
pub fn adjust_process(flag: &str) -> String {
    format!("to change it, set -{flag} or contact your service administrator")
}

/// `up{job="a"}`, shortened to a bound.
pub fn show_series<'a>(labels: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> String {
    let metric = labels.clone().find(|&(name, _)| name == METRIC_NAME);
    let mut out = metric.map_or_else(String::new, |(_, value)| cut(value));
    out.push('{');
    let mut separator = "";
    for (name, value) in labels.filter(|&(name, _)| name != METRIC_NAME) {
        if out.len() > SHOWN_BYTES_MAX {
            out.push_str(", …");
            break;
        }
        let _ = write!(out, "{separator}{}={:?}", cut(name), cut(value));
        separator = ", ";
    }
    out.push('}');
    out
}

/// Bytes as text, shortened, what is not UTF-8 replaced.
pub fn cut(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_VALUE_BYTES_MAX {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut end = SHOWN_VALUE_BYTES_MAX;
    while end > SHOWN_VALUE_BYTES_MAX - 4 && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    format!("{}…", String::from_utf8_lossy(&bytes[..end]))
}

fn valid_metric_name(name: &[u8], utf8: bool) -> bool {
    valid_name(name, utf8, METRIC)
}

fn valid_label_name(name: &[u8], utf8: bool) -> bool {
    valid_name(name, utf8, LABEL)
}

const METRIC: u8 = 1;
const LABEL: u8 = 2;
/// For each byte, of which kinds of legacy names it may be part.
static NAME_BYTES: [u8; 256] = name_bytes();

const fn name_bytes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_' {
            table[byte] = METRIC | LABEL;
        }
        byte += 1;
    }
    table[b':' as usize] = METRIC;
    table
}

fn valid_name(name: &[u8], utf8: bool, kind: u8) -> bool {
    let Some(first) = name.first() else {
        return false;
    };
    if utf8 {
        return name.is_ascii() || std::str::from_utf8(name).is_ok();
    }
    let kinds = name
        .iter()
        .fold(kind, |kinds, &b| kinds & NAME_BYTES[usize::from(b)]);
    !first.is_ascii_digit() && kinds != 0
}
