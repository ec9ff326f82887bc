//! From the parsed tree to the automata.

use std::ops::Range;

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored as Mode, Input};
use regex_syntax::hir::{Capture, Class, Hir, Look, Repetition};

use super::ast::{Kind, Node};
use super::class;
use super::parse::{Parsed, RegexError};

/// Of one automaton, in bytes; what goes over it is refused.
const AUTOMATON_BYTES_MAX: usize = 10 << 20;

/// Matches whole texts only.
#[derive(Debug)]
pub struct Anchored {
    regex: Regex,
    /// Literals that every match begins and ends with, looked at first.
    prefix: String,
    suffix: String,
}

impl Anchored {
    pub fn matches(&self, text: &[u8]) -> bool {
        text.starts_with(self.prefix.as_bytes())
            && text.ends_with(self.suffix.as_bytes())
            && self.regex.is_match(Input::new(text).anchored(Mode::Yes))
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

pub fn anchored(parsed: &Parsed, pattern: &str) -> Result<Anchored, RegexError> {
    let whole = Hir::concat(vec![
        Hir::look(Look::Start),
        lower(&parsed.root, false),
        Hir::look(Look::End),
    ]);
    let (prefix, suffix) = edges(&parsed.root);
    Ok(Anchored {
        regex: build(&whole, WhichCaptures::None, pattern)?,
        prefix,
        suffix,
    })
}

/// Finds capturing groups; the pattern brings its own anchors.
#[derive(Debug)]
pub struct CapturingRegex {
    regex: Regex,
    names: Vec<Option<String>>,
}

/// Groups of one match. Of several groups with one name, the first that took part counts.
pub struct Groups<'r> {
    slots: Vec<Option<Range<usize>>>,
    names: &'r [Option<String>],
}

impl Groups<'_> {
    pub fn numbered(&self, index: usize) -> Option<Range<usize>> {
        self.slots.get(index)?.clone()
    }

    pub fn named(&self, name: &str) -> Option<Range<usize>> {
        let at = |(index, own): (usize, &Option<String>)| {
            (own.as_deref() == Some(name)).then(|| self.numbered(index))?
        };
        self.names.iter().enumerate().find_map(at)
    }
}

impl CapturingRegex {
    pub fn captures(&self, text: &str) -> Option<Groups<'_>> {
        let mut captures = self.regex.create_captures();
        self.regex.captures(text, &mut captures);
        captures.is_match().then(|| Groups {
            slots: captures
                .iter()
                .map(|span| span.map(|span| span.range()))
                .collect(),
            names: &self.names,
        })
    }
}

pub fn capturing(parsed: Parsed, pattern: &str) -> Result<CapturingRegex, RegexError> {
    Ok(CapturingRegex {
        regex: build(&lower(&parsed.root, true), WhichCaptures::All, pattern)?,
        names: parsed.names,
    })
}

fn build(hir: &Hir, captures: WhichCaptures, pattern: &str) -> Result<Regex, RegexError> {
    let config = Config::new()
        .which_captures(captures)
        .nfa_size_limit(Some(AUTOMATON_BYTES_MAX));
    Regex::builder()
        .configure(config)
        .build_from_hir(hir)
        .map_err(|_| RegexError::too_large(pattern))
}

/// Recursion is bounded by the parser's height limit.
fn lower(node: &Node, captures: bool) -> Hir {
    let lower_all = |subs: &[Node]| subs.iter().map(|sub| lower(sub, captures)).collect();
    match &node.kind {
        Kind::Empty => Hir::empty(),
        Kind::Literal {
            text,
            fold_case: false,
        } => Hir::literal(text.as_bytes()),
        Kind::Literal { text, .. } => {
            let variants = text.chars().map(|c| Class::Unicode(class::variants(c)));
            Hir::concat(variants.map(Hir::class).collect())
        }
        Kind::Class(class) => Hir::class(Class::Unicode(class.clone())),
        Kind::AnyChar => Hir::dot(regex_syntax::hir::Dot::AnyChar),
        Kind::AnyCharNotNewline => Hir::dot(regex_syntax::hir::Dot::AnyCharExceptLF),
        Kind::Look(look) => Hir::look(*look),
        Kind::Capture(sub, _) if !captures => lower(sub, captures),
        Kind::Capture(sub, index) => Hir::capture(Capture {
            index: *index,
            name: None,
            sub: Box::new(lower(sub, captures)),
        }),
        Kind::Repeat(repeat) => Hir::repetition(Repetition {
            min: repeat.min,
            max: repeat.max,
            greedy: repeat.greedy,
            sub: Box::new(lower(&repeat.sub, captures)),
        }),
        Kind::Concat(subs) => Hir::concat(lower_all(subs)),
        Kind::Alternate(subs) => Hir::alternation(lower_all(subs)),
    }
}

/// Literals at the beginning and end of the tree, as far as they are plain to see.
fn edges(root: &Node) -> (String, String) {
    let literal = |node: Option<&Node>| match node.map(|node| &node.kind) {
        Some(Kind::Literal {
            text,
            fold_case: false,
        }) => text.clone(),
        _ => String::new(),
    };
    match &root.kind {
        Kind::Concat(subs) => (literal(subs.first()), literal(subs.last())),
        _ => (String::new(), String::new()),
    }
}
