//! Matchers as the head takes them from Python: (type, name, value) with the numbers of remote read.

use regex::Regex;

use super::select::LabelMatcher;

pub struct Matcher {
    name: String,
    negative: bool,
    test: Test,
}

enum Test {
    Equal(String),
    Pattern(Regex),
}

impl Matcher {
    /// kind: 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    pub fn compile(kind: u8, name: String, value: String) -> Result<Self, String> {
        let test = match kind {
            0 | 1 => Test::Equal(value),
            2 | 3 => {
                let anchored = format!("^(?s:{value})$");
                Test::Pattern(Regex::new(&anchored).map_err(|e| e.to_string())?)
            }
            other => return Err(format!("unknown matcher type {other}")),
        };
        Ok(Matcher {
            name,
            negative: kind % 2 == 1,
            test,
        })
    }
}

impl LabelMatcher for Matcher {
    fn name(&self) -> &str {
        &self.name
    }

    fn matches(&self, value: &str) -> bool {
        let hit = match &self.test {
            Test::Equal(want) => value == want,
            Test::Pattern(regex) => regex.is_match(value),
        };
        hit != self.negative
    }

    fn literals(&self) -> Option<Vec<&str>> {
        match &self.test {
            Test::Equal(want) if !self.negative => Some(vec![want]),
            _ => None,
        }
    }
}
