//! Trees that need no automaton: finite sets of literals, and literals with `.*` or `.+` between them.

use memchr::memmem::Finder;
use regex_syntax::hir::Look;

use super::ast::{Kind, Node};

/// Alternatives that a product of alternatives may give, and those with a wildcard in them.
const PRODUCT_MAX: usize = 1024;
const PRODUCT_BYTES_MAX: usize = 1 << 20;
const WILDCARDS_MAX: usize = 16;
/// Characters of a class that is taken for an alternative of literals.
const CLASS_MAX: usize = 32;

#[derive(Debug)]
pub enum Shape {
    /// Exactly these texts: distinct, sorted.
    Literals(Vec<String>),
    /// Any of these literals or wildcards.
    Wildcards(Vec<String>, Vec<Wildcard>),
}

/// Literals in order with gaps between them, over a whole text.
#[derive(Debug)]
pub struct Wildcard {
    prefix: String,
    /// Gap before, then the literal.
    middle: Vec<(usize, Finder<'static>)>,
    last_gap: usize,
    suffix: String,
}

impl Wildcard {
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(mut rest) = text
            .strip_prefix(self.prefix.as_bytes())
            .and_then(|rest| rest.strip_suffix(self.suffix.as_bytes()))
        else {
            return false;
        };
        // The leftmost place for each literal leaves the most for those after it.
        for (gap, literal) in &self.middle {
            let Some(at) = rest.get(*gap..).and_then(|rest| literal.find(rest)) else {
                return false;
            };
            rest = &rest[gap + at + literal.needle().len()..];
        }
        rest.len() >= self.last_gap
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// One alternative: parts in order, no two neighbours of one kind.
type Sequence = Vec<Part>;

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    /// At least this many characters, 0 or 1.
    Gap(usize),
    Start,
    End,
}

/// None if the tree needs an automaton.
pub fn shape(root: &Node) -> Option<Shape> {
    let mut literals = Vec::new();
    let mut wildcards = Vec::new();
    for sequence in sequences(root)?.sequences {
        match &without_edges(sequence)?[..] {
            [] => literals.push(String::new()),
            [Part::Literal(text)] => literals.push(text.clone()),
            parts => wildcards.push(wildcard(parts)?),
        }
    }
    literals.sort_unstable();
    literals.dedup();
    if wildcards.is_empty() {
        return Some(Shape::Literals(literals));
    }
    let few = wildcards.len() + literals.len() <= WILDCARDS_MAX;
    few.then_some(Shape::Wildcards(literals, wildcards))
}

/// Anchors at the edges of a whole match say nothing; elsewhere they are left to the automaton.
fn without_edges(mut sequence: Sequence) -> Option<Sequence> {
    let starts = sequence
        .iter()
        .take_while(|part| **part == Part::Start)
        .count();
    sequence.drain(..starts);
    while sequence.last() == Some(&Part::End) {
        sequence.pop();
    }
    let plain = |part: &Part| matches!(part, Part::Literal(_) | Part::Gap(_));
    sequence.iter().all(plain).then_some(sequence)
}

fn wildcard(parts: &[Part]) -> Option<Wildcard> {
    let (prefix, parts) = match parts {
        [Part::Literal(text), parts @ ..] => (text.clone(), parts),
        parts => (String::new(), parts),
    };
    let (suffix, parts) = match parts {
        [parts @ .., Part::Literal(text)] => (text.clone(), parts),
        parts => (String::new(), parts),
    };
    let mut middle = Vec::new();
    let mut gap = 0;
    for part in parts {
        match part {
            Part::Gap(least) => gap = *least,
            Part::Literal(text) => middle.push((gap, Finder::new(text).into_owned())),
            Part::Start | Part::End => return None,
        }
    }
    Some(Wildcard {
        prefix,
        middle,
        last_gap: gap,
        suffix,
    })
}

/// Alternatives of a tree, and the bytes of all their parts.
struct Alternatives {
    sequences: Vec<Sequence>,
    bytes: usize,
}

impl Alternatives {
    fn new(sequences: Vec<Sequence>) -> Self {
        let bytes = sequences.iter().flatten().map(part_bytes).sum();
        Self { sequences, bytes }
    }

    fn one(part: Part) -> Self {
        Self::new(vec![vec![part]])
    }

    /// Every sequence of self followed by every one of the other, while that is few and short.
    fn followed_by(mut self, tails: Self) -> Option<Self> {
        let count = self.sequences.len().checked_mul(tails.sequences.len())?;
        let multiplies = self.sequences.len() > 1 && tails.sequences.len() > 1;
        self.bytes = self.bytes * tails.sequences.len() + tails.bytes * self.sequences.len();
        if self.bytes > PRODUCT_BYTES_MAX || multiplies && count > PRODUCT_MAX {
            return None;
        }
        if let [tail] = &tails.sequences[..] {
            for sequence in &mut self.sequences {
                append(sequence, tail)?;
            }
            return Some(self);
        }
        let mut product = Vec::with_capacity(count);
        for head in &self.sequences {
            for tail in &tails.sequences {
                let mut sequence = head.clone();
                append(&mut sequence, tail)?;
                product.push(sequence);
            }
        }
        self.sequences = product;
        Some(self)
    }

    fn or(mut self, others: Self) -> Self {
        self.sequences.extend(others.sequences);
        self.bytes += others.bytes;
        self
    }
}

/// All alternatives of a tree, if they are few and simple. Recursion is bounded by the parser's height limit.
fn sequences(node: &Node) -> Option<Alternatives> {
    let empty = || Alternatives::new(vec![Vec::new()]);
    match &node.kind {
        Kind::Empty => Some(empty()),
        Kind::Literal { text, fold_case } => {
            let plain = !fold_case || text.chars().all(has_no_variants);
            plain.then(|| Alternatives::one(Part::Literal(text.clone())))
        }
        Kind::Class(class) => {
            let size: usize = class.iter().map(|range| range.len()).sum();
            let chars = || class.iter().flat_map(|range| range.start()..=range.end());
            let literal = |c: char| vec![Part::Literal(c.to_string())];
            (size <= CLASS_MAX).then(|| Alternatives::new(chars().map(literal).collect()))
        }
        Kind::Look(Look::Start) => Some(Alternatives::one(Part::Start)),
        Kind::Look(Look::End) => Some(Alternatives::one(Part::End)),
        Kind::AnyChar | Kind::AnyCharNotNewline | Kind::Look(_) => None,
        Kind::Capture(sub, _) => sequences(sub),
        Kind::Repeat(repeat) => match (repeat.min, repeat.max, &repeat.sub.kind) {
            (0, None, Kind::AnyChar) => Some(Alternatives::one(Part::Gap(0))),
            (1, None, Kind::AnyChar) => Some(Alternatives::one(Part::Gap(1))),
            (0, Some(1), _) => Some(sequences(&repeat.sub)?.or(empty())),
            _ => None,
        },
        Kind::Concat(subs) => subs
            .iter()
            .try_fold(empty(), |heads, sub| heads.followed_by(sequences(sub)?)),
        Kind::Alternate(subs) => subs
            .iter()
            .try_fold(Alternatives::new(Vec::new()), |all, sub| {
                Some(all.or(sequences(sub)?))
            }),
    }
}

fn has_no_variants(c: char) -> bool {
    matches!(super::class::variants(c).ranges(), [only] if only.start() == only.end())
}

fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Literal(text) => text.len(),
        _ => 1,
    }
}

/// None for a gap of two characters or more, which cannot be told by bytes.
fn append(sequence: &mut Sequence, tail: &Sequence) -> Option<()> {
    for part in tail {
        match (sequence.last_mut(), part) {
            (Some(Part::Literal(text)), Part::Literal(more)) => text.push_str(more),
            (Some(Part::Gap(1)), Part::Gap(1)) => return None,
            (Some(Part::Gap(least)), Part::Gap(more)) => *least += more,
            _ => sequence.push(part.clone()),
        }
    }
    Some(())
}
