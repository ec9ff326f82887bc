//! `CompiledMatcher`: one label matcher, ready to test values, and label_replace over a dictionary.

use std::fmt;

use hashbrown::HashSet;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::regex::{self, FullMatch, Shape};

create_exception!(mimir_rw._native, RegexError, PyValueError);

impl From<regex::RegexError> for PyErr {
    fn from(error: regex::RegexError) -> Self {
        RegexError::new_err(error.to_string())
    }
}

/// Numbered as in remote read's LabelMatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchType {
    Equal = 0,
    NotEqual = 1,
    Regex = 2,
    NotRegex = 3,
}

impl MatchType {
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Equal, Self::NotEqual, Self::Regex, Self::NotRegex]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }

    fn is_negated(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// `name op value`. A series without the label has the value "" there. Immutable; shared between threads.
#[pyclass(frozen, module = "mimir_rw._native")]
#[derive(Debug)]
pub struct CompiledMatcher {
    kind: MatchType,
    name: String,
    value: String,
    test: Test,
}

/// Before negation.
#[derive(Debug)]
enum Test {
    Any,
    NotEmpty,
    /// Sorted; few enough to compare one by one.
    OneOf(Vec<String>),
    Set {
        sorted: Vec<String>,
        lookup: HashSet<Box<[u8]>>,
    },
    Wildcards(Vec<String>, Vec<regex::Wildcard>),
    Automaton(regex::Anchored),
}

/// Up to so many literals are compared one by one.
const COMPARE_MAX: usize = 4;

impl Test {
    fn compile(kind: MatchType, value: &str) -> Result<Self, regex::RegexError> {
        match kind {
            MatchType::Equal | MatchType::NotEqual => Ok(Self::OneOf(vec![value.to_owned()])),
            // The commonest two, and the cheapest to tell.
            MatchType::Regex | MatchType::NotRegex if value == ".*" => Ok(Self::Any),
            MatchType::Regex | MatchType::NotRegex if value == ".+" => Ok(Self::NotEmpty),
            MatchType::Regex | MatchType::NotRegex => Ok(match regex::compile_full_match(value)? {
                FullMatch::Shape(Shape::Literals(sorted)) if sorted.len() <= COMPARE_MAX => {
                    Self::OneOf(sorted)
                }
                FullMatch::Shape(Shape::Literals(sorted)) => Self::Set {
                    lookup: sorted.iter().map(|text| text.as_bytes().into()).collect(),
                    sorted,
                },
                FullMatch::Shape(Shape::Wildcards(literals, wildcards)) => {
                    Self::Wildcards(literals, wildcards)
                }
                FullMatch::Automaton(automaton) => Self::Automaton(automaton),
            }),
        }
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::NotEmpty => !value.is_empty(),
            Self::OneOf(literals) => is_among(literals, value),
            Self::Set { lookup, .. } => lookup.contains(value),
            Self::Wildcards(literals, wildcards) => {
                is_among(literals, value)
                    || wildcards.iter().any(|wildcard| wildcard.matches(value))
            }
            Self::Automaton(automaton) => automaton.matches(value),
        }
    }
}

fn is_among(literals: &[String], value: &[u8]) -> bool {
    literals.iter().any(|text| text.as_bytes() == value)
}

impl CompiledMatcher {
    pub fn new(kind: MatchType, name: &str, value: &str) -> Result<Self, regex::RegexError> {
        Ok(Self {
            kind,
            name: name.to_owned(),
            value: value.to_owned(),
            test: Test::compile(kind, value)?,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a series with this value ("" when it lacks the label; UTF-8) passes.
    pub fn matches(&self, value: impl AsRef<[u8]>) -> bool {
        self.test.matches(value.as_ref()) != self.kind.is_negated()
    }

    /// Whether a series without the label passes.
    pub fn matches_empty(&self) -> bool {
        self.matches(b"")
    }

    /// If the matcher passes exactly a finite set of values: these, sorted, distinct. "" may be among them.
    pub fn literals(&self) -> Option<&[String]> {
        match &self.test {
            _ if self.kind.is_negated() => None,
            Test::OneOf(sorted) | Test::Set { sorted, .. } => Some(sorted),
            _ => None,
        }
    }

    /// Whether every series passes.
    pub fn passes_all(&self) -> bool {
        matches!(self.test, Test::Any) && !self.kind.is_negated()
    }

    /// If the matcher passes all but a finite set of values: these, sorted, distinct. "" may be among them.
    pub fn excluded_literals(&self) -> Option<&[String]> {
        match &self.test {
            _ if !self.kind.is_negated() => None,
            Test::OneOf(sorted) | Test::Set { sorted, .. } => Some(sorted),
            _ => None,
        }
    }

    /// A literal that every passing value begins with; "" if none is known.
    pub fn prefix(&self) -> &str {
        match &self.test {
            _ if self.kind.is_negated() => "",
            Test::OneOf(literals) if literals.len() == 1 => &literals[0],
            Test::Wildcards(literals, wildcards) if literals.is_empty() && wildcards.len() == 1 => {
                wildcards[0].prefix()
            }
            Test::Automaton(automaton) => automaton.prefix(),
            _ => "",
        }
    }
}

impl fmt::Display for CompiledMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quoted = String::new();
        super::format::push_quoted(&mut quoted, &self.value);
        write!(f, "{}{}{quoted}", self.name, self.kind.symbol())
    }
}

#[pymethods]
impl CompiledMatcher {
    #[new]
    fn py_new(r#type: u8, name: &str, value: &str) -> PyResult<Self> {
        let kind = MatchType::from_number(r#type).ok_or_else(|| {
            PyValueError::new_err(format!("matcher type {} is not known", r#type))
        })?;
        Ok(Self::new(kind, name, value)?)
    }

    #[getter]
    fn r#type(&self) -> u8 {
        self.kind as u8
    }

    #[getter(name)]
    fn py_name(&self) -> &str {
        &self.name
    }

    #[getter]
    fn value(&self) -> &str {
        &self.value
    }

    #[pyo3(name = "matches")]
    fn py_matches(&self, value: &str) -> bool {
        self.matches(value)
    }

    #[getter(literals)]
    fn py_literals(&self) -> Option<Vec<String>> {
        self.literals().map(<[String]>::to_vec)
    }

    #[getter(prefix)]
    fn py_prefix(&self) -> &str {
        self.prefix()
    }

    fn __str__(&self) -> String {
        self.to_string()
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("RegexError", m.py().get_type::<RegexError>())?;
    m.add_class::<CompiledMatcher>()
}
