//! The parser: a stack machine like Go's, so that errors appear in the same order and quote the same text.
//!
//! The stack holds finished nodes, open parentheses and at most one vertical bar above each; below a bar lie the
//! finished alternatives. No recursion: depth costs heap only, and is bounded by height.

use std::fmt;

use regex_syntax::hir::{ClassUnicode, Look};

use super::ast::{Kind, Node};

/// As in Go: the height of the tree, and how often anything may be repeated in all.
const HEIGHT_MAX: u32 = 1000;
const COPIES_MAX: u32 = 1000;
/// Ours: live nodes, and units of parse work (class ranges built, characters folded, nodes moved).
const NODES_MAX: usize = 250_000;
const WORK_MAX: usize = 8_000_000;

/// What Go's regexp package says of a bad pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError {
    pub what: &'static str,
    /// The offending part of the pattern.
    pub expr: String,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.what, self.expr)
    }
}

impl std::error::Error for RegexError {}

impl RegexError {
    pub fn too_large(pattern: &str) -> Self {
        error("expression too large", pattern)
    }
}

pub(super) fn error(what: &'static str, expr: &str) -> RegexError {
    RegexError {
        what,
        expr: expr.to_owned(),
    }
}

const INVALID_NAMED_CAPTURE: &str = "invalid named capture";
const INVALID_PERL_OP: &str = "invalid or unsupported Perl syntax";
const INVALID_REPEAT_OP: &str = "invalid nested repetition operator";
const INVALID_REPEAT_SIZE: &str = "invalid repeat count";
const MISSING_PAREN: &str = "missing closing )";
const MISSING_REPEAT_ARGUMENT: &str = "missing argument to repetition operator";
const NESTING_DEPTH: &str = "expression nests too deeply";
const UNEXPECTED_PAREN: &str = "unexpected )";

#[derive(Clone, Copy, Default)]
pub struct Flags {
    pub(super) fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    swap_greed: bool,
}

impl Flags {
    pub fn dot_matches_newline() -> Self {
        Self {
            dot_newline: true,
            ..Self::default()
        }
    }

    fn set(&mut self, letter: char, on: bool) -> bool {
        match letter {
            'i' => self.fold_case = on,
            'm' => self.multi_line = on,
            's' => self.dot_newline = on,
            'U' => self.swap_greed = on,
            _ => return false,
        }
        true
    }
}

pub struct Parsed {
    pub root: Node,
    /// Name of each capturing group, the whole match first; None where it has none. Names may repeat.
    pub names: Vec<Option<String>>,
}

/// Least and greatest count of a repetition; None: unbounded.
type Bounds = (u32, Option<u32>);

enum Item {
    Node(Node),
    /// Flags to restore at the closing one; the group's number if it captures.
    Paren(Flags, Option<u32>),
    Bar,
}

pub(super) struct Parser<'p> {
    pub(super) pattern: &'p str,
    pub(super) at: usize,
    pub(super) flags: Flags,
    stack: Vec<Item>,
    names: Vec<Option<String>>,
    nodes: usize,
    work: usize,
    /// No `:]` follows any more: not looked for again, which would take quadratic time.
    pub(super) no_posix_end: bool,
}

pub fn parse(pattern: &str, flags: Flags) -> Result<Parsed, RegexError> {
    let mut parser = Parser {
        pattern,
        at: 0,
        flags,
        stack: Vec::new(),
        names: vec![None],
        nodes: 0,
        work: 0,
        no_posix_end: false,
    };
    let mut last_repeat = None;
    while parser.at < pattern.len() {
        last_repeat = parser.step(last_repeat)?;
    }
    parser.close_alternatives()?;
    match (parser.stack.pop(), parser.stack.is_empty()) {
        (Some(Item::Node(root)), true) => Ok(Parsed {
            root,
            names: parser.names,
        }),
        _ => Err(error(MISSING_PAREN, pattern)),
    }
}

impl<'p> Parser<'p> {
    /// Parse one element. Takes and gives the start of the repetition operator just before, if that is what came.
    fn step(&mut self, last_repeat: Option<usize>) -> Result<Option<usize>, RegexError> {
        let start = self.at;
        let Some(c) = self.next_char() else {
            return Ok(None);
        };
        match c {
            '(' if self.rest().starts_with('?') => self.perl_group(start)?,
            '(' => self.open_capture(None)?,
            '|' => {
                self.close_concat()?;
                if !self.swap_bar() {
                    self.stack.push(Item::Bar);
                }
            }
            ')' => self.close_paren()?,
            '^' => self.push(look(self.flags, Look::Start, Look::StartLF))?,
            '$' => self.push(look(self.flags, Look::End, Look::EndLF))?,
            '.' if self.flags.dot_newline => self.push(Node::leaf(Kind::AnyChar))?,
            '.' => self.push(Node::leaf(Kind::AnyCharNotNewline))?,
            '[' => self.class(start)?,
            '*' => return self.repeat(0, None, start, last_repeat),
            '+' => return self.repeat(1, None, start, last_repeat),
            '?' => return self.repeat(0, Some(1), start, last_repeat),
            '{' => match self.repeat_bounds(start)? {
                Some((min, max)) => return self.repeat(min, max, start, last_repeat),
                None => self.literal(c)?,
            },
            '\\' => self.escape(start)?,
            c => self.literal(c)?,
        }
        Ok(None)
    }

    pub(super) fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    pub(super) fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// An error quoting the pattern from `start` to here.
    pub(super) fn error(&self, what: &'static str, start: usize) -> RegexError {
        error(what, &self.pattern[start..self.at])
    }

    pub(super) fn spend(&mut self, work: usize) -> Result<(), RegexError> {
        self.work += work;
        if self.work > WORK_MAX || self.nodes > NODES_MAX {
            return Err(RegexError::too_large(self.pattern));
        }
        Ok(())
    }

    pub(super) fn push(&mut self, node: Node) -> Result<(), RegexError> {
        self.join_literals();
        self.push_checked(node)
    }

    fn push_checked(&mut self, node: Node) -> Result<(), RegexError> {
        if node.height > HEIGHT_MAX {
            return Err(error(NESTING_DEPTH, self.pattern));
        }
        self.nodes += 1;
        self.stack.push(Item::Node(node));
        self.spend(1)
    }

    /// Push a node that was on the stack before.
    fn push_back(&mut self, node: Node) -> Result<(), RegexError> {
        self.stack.push(Item::Node(node));
        self.spend(1)
    }

    /// Append the literal on top to the one below it. Called before a push, when no operator can follow the top one.
    fn join_literals(&mut self) {
        let [
            ..,
            Item::Node(Node {
                kind: Kind::Literal { text, fold_case },
                ..
            }),
            Item::Node(Node {
                kind:
                    Kind::Literal {
                        text: last,
                        fold_case: last_fold_case,
                    },
                ..
            }),
        ] = &mut self.stack[..]
        else {
            return;
        };
        if fold_case == last_fold_case {
            text.push_str(last);
            self.stack.pop();
            self.nodes -= 1;
        }
    }

    pub(super) fn literal(&mut self, c: char) -> Result<(), RegexError> {
        self.push(Node::literal(c, self.flags.fold_case))
    }

    /// A literal by code point: a surrogate matches nothing.
    pub(super) fn literal_code(&mut self, code: u32) -> Result<(), RegexError> {
        match char::from_u32(code) {
            Some(c) => self.literal(c),
            None => self.push(Node::leaf(Kind::Class(ClassUnicode::empty()))),
        }
    }

    /// Nodes above the topmost parenthesis or bar, in order.
    fn pop_nodes(&mut self) -> Vec<Node> {
        let is_node = |item: &Item| matches!(item, Item::Node(_));
        let count = self
            .stack
            .iter()
            .rev()
            .take_while(|item| is_node(item))
            .count();
        let nodes = self.stack.drain(self.stack.len() - count..);
        nodes
            .filter_map(|item| match item {
                Item::Node(node) => Some(node),
                _ => None,
            })
            .collect()
    }

    fn close_concat(&mut self) -> Result<(), RegexError> {
        self.join_literals();
        let mut subs = self.pop_nodes();
        match subs.len() {
            0 => self.push_checked(Node::leaf(Kind::Empty)),
            1 => self.push_back(subs.remove(0)),
            _ => {
                let flat = self.flatten(subs, |kind| match kind {
                    Kind::Concat(subs) => Ok(subs),
                    other => Err(other),
                })?;
                self.push_checked(Node::concat(flat))
            }
        }
    }

    /// Make the concatenation on top and the alternatives below the bar into one node.
    fn close_alternatives(&mut self) -> Result<(), RegexError> {
        self.close_concat()?;
        if self.swap_bar() {
            self.stack.pop();
        }
        let mut subs = self.pop_nodes();
        match subs.len() {
            1 => self.push_back(subs.remove(0)),
            _ => {
                let flat = self.flatten(subs, |kind| match kind {
                    Kind::Alternate(subs) => Ok(subs),
                    other => Err(other),
                })?;
                self.push_checked(Node::alternate(flat))
            }
        }
    }

    /// Replace nodes that `open` opens by their children.
    fn flatten(
        &mut self,
        nodes: Vec<Node>,
        open: fn(Kind) -> Result<Vec<Node>, Kind>,
    ) -> Result<Vec<Node>, RegexError> {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match open(node.kind) {
                Ok(subs) => flat.extend(subs),
                Err(kind) => flat.push(Node { kind, ..node }),
            }
        }
        self.spend(flat.len())?;
        Ok(flat)
    }

    /// Put the node on top below the bar under it. False without a bar.
    fn swap_bar(&mut self) -> bool {
        let n = self.stack.len();
        let has_bar = n >= 2 && matches!(self.stack[n - 2], Item::Bar);
        if has_bar {
            self.stack.swap(n - 2, n - 1);
        }
        has_bar
    }

    fn close_paren(&mut self) -> Result<(), RegexError> {
        self.close_alternatives()?;
        let (node, paren) = (self.stack.pop(), self.stack.pop());
        let (Some(Item::Node(node)), Some(Item::Paren(flags, index))) = (node, paren) else {
            return Err(error(UNEXPECTED_PAREN, self.pattern));
        };
        self.flags = flags;
        self.nodes -= 1;
        match index {
            Some(index) => self.push(Node::capture(index, node)),
            None => self.push(node),
        }
    }

    fn open_capture(&mut self, name: Option<&str>) -> Result<(), RegexError> {
        let index = self.names.len() as u32;
        self.names.push(name.map(str::to_owned));
        self.open_group(Some(index))
    }

    fn open_group(&mut self, index: Option<u32>) -> Result<(), RegexError> {
        self.join_literals();
        self.stack.push(Item::Paren(self.flags, index));
        self.nodes += 1;
        self.spend(1)
    }

    /// Apply a repetition operator that began at `start` to the node on top.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        start: usize,
        last_repeat: Option<usize>,
    ) -> Result<Option<usize>, RegexError> {
        let lazy = self.eat("?");
        if let Some(last) = last_repeat {
            return Err(self.error(INVALID_REPEAT_OP, last));
        }
        let Some(Item::Node(sub)) = self.stack.pop() else {
            return Err(self.error(MISSING_REPEAT_ARGUMENT, start));
        };
        let node = Node::repeat(min, max, lazy == self.flags.swap_greed, sub);
        let counted = min >= 2 || max.is_some_and(|max| max >= 2);
        let copies = node.copies;
        self.push_checked(node)?;
        if counted && copies > COPIES_MAX {
            return Err(self.error(INVALID_REPEAT_SIZE, start));
        }
        Ok(Some(start))
    }

    /// `min}`, `min,}` or `min,max}` after the opening brace at `start`. None if it is nothing of the kind and the brace
    /// a literal; nothing is consumed then.
    fn repeat_bounds(&mut self, start: usize) -> Result<Option<Bounds>, RegexError> {
        let rest = self.rest();
        let digit_or_comma = |c: char| c.is_ascii_digit() || c == ',';
        let inside = &rest[..rest.find(|c| !digit_or_comma(c)).unwrap_or(rest.len())];
        let bounds = match inside.split_once(',') {
            None => count(inside).map(|exactly| (exactly, Some(exactly))),
            Some((min, "")) => count(min).map(|min| (min, None)),
            Some((min, max)) => count(min).zip(count(max).map(Some)),
        };
        let Some((min, max)) = bounds.filter(|_| rest[inside.len()..].starts_with('}')) else {
            return Ok(None);
        };
        self.at += inside.len() + 1;
        if min > COPIES_MAX || max.is_some_and(|max| max > COPIES_MAX || max < min) {
            return Err(self.error(INVALID_REPEAT_SIZE, start));
        }
        Ok(Some((min, max)))
    }

    /// `(?flags)`, `(?flags:`, `(?P<name>` or `(?<name>`, from just after the parenthesis at `start`.
    fn perl_group(&mut self, start: usize) -> Result<(), RegexError> {
        let rest = &self.pattern[start..];
        let prefix = if rest.len() > 4 && rest.starts_with("(?P<") {
            4
        } else if rest.len() > 3 && rest.starts_with("(?<") {
            3
        } else {
            self.at = start + 2;
            return self.group_flags(start);
        };
        let Some(end) = rest.find('>') else {
            return Err(error(INVALID_NAMED_CAPTURE, rest));
        };
        self.at = start + end + 1;
        let name = &rest[prefix..end];
        let valid = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name.is_empty() || !name.chars().all(valid) {
            return Err(self.error(INVALID_NAMED_CAPTURE, start));
        }
        self.open_capture(Some(name))
    }

    fn group_flags(&mut self, start: usize) -> Result<(), RegexError> {
        let mut flags = self.flags;
        let mut on = true;
        // Whether a flag follows the minus sign, which needs one.
        let mut complete = true;
        while let Some(c) = self.next_char() {
            match c {
                '-' if on => {
                    on = false;
                    complete = false;
                }
                ':' | ')' if complete => {
                    if c == ':' {
                        self.open_group(None)?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                c if flags.set(c, on) => complete = true,
                _ => break,
            }
        }
        Err(self.error(INVALID_PERL_OP, start))
    }
}

fn look(flags: Flags, of_text: Look, of_line: Look) -> Node {
    Node::leaf(Kind::Look(if flags.multi_line { of_line } else { of_text }))
}

/// A decimal number without leading zeros; one too big for any use is some number over every bound.
fn count(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}
