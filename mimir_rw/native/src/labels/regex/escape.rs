//! The parser's part for escapes and bracketed classes.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, Look};

use super::ast::{Kind, Node};
use super::class;
use super::parse::{Parser, RegexError, error};

const INVALID_CLASS_RANGE: &str = "invalid character class range";
const INVALID_ESCAPE: &str = "invalid escape sequence";
const MISSING_BRACKET: &str = "missing closing ]";
const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";

/// Work units of folding a wide class: only some thousand characters have case variants.
const FOLD_WORK: usize = 4096;

impl Parser<'_> {
    /// What follows a backslash at `start`, outside a class.
    pub(super) fn escape(&mut self, start: usize) -> Result<(), RegexError> {
        let looks = [
            ("A", Look::Start),
            ("z", Look::End),
            ("b", Look::WordAscii),
            ("B", Look::WordAsciiNegate),
        ];
        for (letter, look) in looks {
            if self.eat(letter) {
                return self.push(Node::leaf(Kind::Look(look)));
            }
        }
        if self.eat("C") {
            return Err(self.error(INVALID_ESCAPE, start));
        }
        if self.eat("Q") {
            let rest = self.rest();
            let (text, consumed) = match rest.split_once("\\E") {
                Some((text, _)) => (text, text.len() + 2),
                None => (rest, rest.len()),
            };
            self.at += consumed;
            return text.chars().try_for_each(|c| self.literal(c));
        }
        self.at = start;
        if let Some(class) = self.named_class()? {
            return self.push(Node::class(class));
        }
        let code = self.escaped_char()?;
        self.literal_code(code)
    }

    /// `\pN`, `\p{Name}`, `\d` and the like at a backslash; None (and nothing consumed) if it is none of them.
    fn named_class(&mut self) -> Result<Option<ClassUnicode>, RegexError> {
        let start = self.at;
        let mut letters = self.rest().chars();
        let (Some('\\'), Some(letter)) = (letters.next(), letters.next()) else {
            return Ok(None);
        };
        if let 'p' | 'P' = letter {
            self.at += 2;
            return self.unicode_class(start, letter == 'P').map(Some);
        }
        let class = class::perl(letter, self.flags.fold_case);
        if let Some(class) = &class {
            self.at += 2;
            self.spend(class.ranges().len())?;
        }
        Ok(class)
    }

    fn unicode_class(&mut self, start: usize, negated: bool) -> Result<ClassUnicode, RegexError> {
        let name = match self.next_char() {
            Some('{') => {
                let Some(len) = self.rest().find('}') else {
                    return Err(error(INVALID_CLASS_RANGE, &self.pattern[start..]));
                };
                let name = &self.rest()[..len];
                self.at += len + 1;
                name
            }
            _ => &self.pattern[start + 2..self.at],
        };
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, !negated),
            None => (name, negated),
        };
        let class = class::unicode(name, self.flags.fold_case, negated)
            .ok_or_else(|| self.error(INVALID_CLASS_RANGE, start))?;
        self.spend(class.ranges().len() + if self.flags.fold_case { FOLD_WORK } else { 0 })?;
        Ok(class)
    }

    /// The code point that an escape at a backslash stands for.
    fn escaped_char(&mut self) -> Result<u32, RegexError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.next_char() else {
            return Err(error(TRAILING_BACKSLASH, ""));
        };
        let octal_follows = self.rest().starts_with(|c| matches!(c, '0'..='7'));
        let code = match c {
            '1'..='7' if !octal_follows => None,
            '0'..='7' => Some(self.octal(c as u32 - '0' as u32)),
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c as u32),
            _ => None,
        };
        code.ok_or_else(|| self.error(INVALID_ESCAPE, start))
    }

    /// Up to three octal digits, the first of which is given.
    fn octal(&mut self, first: u32) -> u32 {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.rest().chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.at += 1;
            code = code * 8 + digit;
        }
        code
    }

    /// Two hexadecimal digits, or any number in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.next_char()?;
        if first != '{' {
            let second = self.next_char();
            return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
        }
        let mut code = None;
        loop {
            match self.next_char()? {
                '}' => return code,
                c => {
                    let next = code.unwrap_or(0) * 16 + c.to_digit(16)?;
                    code = Some(next).filter(|&code| code <= char::MAX as u32);
                    code?;
                }
            }
        }
    }

    /// A bracketed class, from just after the bracket at `start`.
    pub(super) fn class(&mut self, start: usize) -> Result<(), RegexError> {
        let negated = self.eat("^");
        let mut ranges: Vec<ClassUnicodeRange> = Vec::new();
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            let named = match self.posix_class()? {
                Some(class) => Some(class),
                None => self.named_class()?,
            };
            match named {
                Some(class) => ranges.extend(class.iter()),
                None => {
                    let (lo, hi) = self.class_range(start)?;
                    ranges.extend(self.folded_range(lo, hi)?);
                }
            }
        }
        self.at += 1;
        let mut class = ClassUnicode::new(ranges);
        if negated {
            class.negate();
        }
        self.spend(class.ranges().len())?;
        self.push(Node::class(class))
    }

    /// `[:name:]` here; None (and nothing consumed) if there is none.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>, RegexError> {
        let start = self.at;
        let Some(rest) = self
            .rest()
            .strip_prefix("[:")
            .filter(|_| !self.no_posix_end)
        else {
            return Ok(None);
        };
        let Some((name, _)) = rest.split_once(":]") else {
            self.no_posix_end = true;
            return Ok(None);
        };
        self.at += name.len() + 4;
        let class = class::posix(name, self.flags.fold_case)
            .ok_or_else(|| self.error(INVALID_CLASS_RANGE, start))?;
        self.spend(class.ranges().len())?;
        Ok(Some(class))
    }

    fn class_range(&mut self, class_start: usize) -> Result<(u32, u32), RegexError> {
        let start = self.at;
        let lo = self.class_char(class_start)?;
        let mut ahead = self.rest().chars();
        let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
        if !is_range {
            return Ok((lo, lo));
        }
        self.at += 1;
        let hi = self.class_char(class_start)?;
        if hi < lo {
            return Err(self.error(INVALID_CLASS_RANGE, start));
        }
        Ok((lo, hi))
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, RegexError> {
        if self.rest().starts_with('\\') {
            return self.escaped_char();
        }
        match self.next_char() {
            Some(c) => Ok(c as u32),
            None => Err(error(MISSING_BRACKET, &self.pattern[class_start..])),
        }
    }

    /// The range as it joins a class under the flags of this place.
    fn folded_range(&mut self, lo: u32, hi: u32) -> Result<Vec<ClassUnicodeRange>, RegexError> {
        self.spend(1)?;
        let range: Vec<ClassUnicodeRange> = class::range(lo, hi).into_iter().collect();
        if !self.flags.fold_case {
            return Ok(range);
        }
        self.spend(((hi - lo) as usize + 1).min(FOLD_WORK))?;
        Ok(class::folded(ClassUnicode::new(range))
            .iter()
            .cloned()
            .collect())
    }
}
