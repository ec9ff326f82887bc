//! Regular expressions in Go's syntax (regexp/syntax with the Perl flags), run by the Rust automata.
//!
//! `parse` accepts what Go accepts and rejects the rest with Go's message; the tree is lowered straight to the
//! automata's own representation, so no pattern text is translated. `shape` finds the trees that need no automaton:
//! sets of literals, and literals with `.*` or `.+` between them.
//!
//! Everything is bounded: height and repetition as in Go, and beyond that live nodes, parse work and automaton size;
//! what goes over a bound of ours fails as Go's "expression too large". Matching is linear in the text.

mod ast;
mod class;
mod escape;
mod lower;
mod parse;
mod shape;

pub use class::{is_digit, is_letter, is_print};
pub use lower::{Anchored, CapturingRegex};
pub use parse::RegexError;
pub use shape::{Shape, Wildcard};

/// A pattern as matchers use it: the whole value must match, and the dot matches newline.
#[derive(Debug)]
pub enum FullMatch {
    Shape(Shape),
    Automaton(Anchored),
}

/// Parse a matcher's pattern, `^(?s:...)$` understood.
pub fn compile_full_match(pattern: &str) -> Result<FullMatch, RegexError> {
    let parsed = parse::parse(pattern, parse::Flags::dot_matches_newline())?;
    match shape::shape(&parsed.root) {
        Some(shape) => Ok(FullMatch::Shape(shape)),
        None => lower::anchored(&parsed, pattern).map(FullMatch::Automaton),
    }
}

/// Compile `^(?s:pattern)$` as one text, as label_replace does: `a)|(b` is a valid pattern there.
pub fn compile_capturing(pattern: &str) -> Result<CapturingRegex, RegexError> {
    let wrapped = format!("^(?s:{pattern})$");
    let parsed = parse::parse(&wrapped, parse::Flags::default())?;
    lower::capturing(parsed, &wrapped)
}
