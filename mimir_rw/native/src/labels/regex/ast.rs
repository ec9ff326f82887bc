//! The parsed tree. Nodes know their height and size so that the parser can bound both as it builds.

use regex_syntax::hir::{ClassUnicode, Look};

#[derive(Debug)]
pub enum Kind {
    Empty,
    Literal {
        text: String,
        fold_case: bool,
    },
    Class(ClassUnicode),
    /// Any character, newline included.
    AnyChar,
    AnyCharNotNewline,
    Look(Look),
    Capture(Box<Node>, u32),
    Repeat(Repeat),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
}

#[derive(Debug)]
pub struct Repeat {
    pub min: u32,
    /// None: unbounded.
    pub max: Option<u32>,
    pub greedy: bool,
    pub sub: Box<Node>,
}

#[derive(Debug)]
pub struct Node {
    pub kind: Kind,
    /// Levels of the tree from here down.
    pub height: u32,
    /// The largest product of nested repetition counts below, this node's included; at least 1.
    pub copies: u32,
}

impl Node {
    pub fn leaf(kind: Kind) -> Self {
        Self {
            kind,
            height: 1,
            copies: 1,
        }
    }

    pub fn literal(c: char, fold_case: bool) -> Self {
        let text = c.to_string();
        Self::leaf(Kind::Literal { text, fold_case })
    }

    /// A class; one of a single character becomes a literal.
    pub fn class(class: ClassUnicode) -> Self {
        match class.ranges() {
            [only] if only.start() == only.end() => Self::literal(only.start(), false),
            _ => Self::leaf(Kind::Class(class)),
        }
    }

    pub fn capture(index: u32, sub: Self) -> Self {
        Self {
            height: sub.height + 1,
            copies: sub.copies,
            kind: Kind::Capture(Box::new(sub), index),
        }
    }

    pub fn repeat(min: u32, max: Option<u32>, greedy: bool, sub: Self) -> Self {
        let factor = match max {
            Some(0) => 0,
            Some(max) => max,
            None => min.max(1),
        };
        Self {
            height: sub.height + 1,
            copies: factor.saturating_mul(sub.copies).max(1),
            kind: Kind::Repeat(Repeat {
                min,
                max,
                greedy,
                sub: Box::new(sub),
            }),
        }
    }

    pub fn concat(subs: Vec<Self>) -> Self {
        Self::of_many(subs, Kind::Concat)
    }

    pub fn alternate(subs: Vec<Self>) -> Self {
        Self::of_many(subs, Kind::Alternate)
    }

    fn of_many(subs: Vec<Self>, kind: fn(Vec<Self>) -> Kind) -> Self {
        Self {
            height: 1 + subs.iter().map(|sub| sub.height).max().unwrap_or(0),
            copies: subs.iter().map(|sub| sub.copies).max().unwrap_or(1),
            kind: kind(subs),
        }
    }
}
