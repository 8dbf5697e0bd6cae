//! From tokens to a tree, by recursive descent: `or` binds weakest, then `and`, then `not`.

use super::error::{Fault, FaultKind, Want};
use super::expression::{Comparison, Expr, GroupRef, Place, Term, Thing, VersionTest, What};
use super::field::{Field, near_field};
use super::lex::{Lexeme, Token, tokens};
use super::pattern::Pattern;
use super::{DEEPEST, LONGEST, MOST_TERMS, values};

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Expr<GroupRef>, Fault> {
    if text.len() > LONGEST {
        return Err(Fault { at: LONGEST, kind: FaultKind::TooLong });
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, terms: 0 };
    if parser.peek().what == Lexeme::End {
        return Err(Fault { at: text.len(), kind: FaultKind::Empty });
    }
    let expr = parser.any_of()?;
    if parser.peek().what != Lexeme::End {
        return Err(parser.unexpected(Want::Connective { closes: false }));
    }
    Ok(expr)
}

struct Parser {
    /// Ends with [`Lexeme::End`].
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    terms: usize,
}

impl Parser {
    fn any_of(&mut self) -> Result<Expr<GroupRef>, Fault> {
        let mut parts = vec![self.all_of()?];
        while self.take_word("or") {
            parts.push(self.all_of()?);
        }
        Ok(Expr::or(parts))
    }

    fn all_of(&mut self) -> Result<Expr<GroupRef>, Fault> {
        let mut parts = vec![self.one()?];
        while self.take_word("and") {
            parts.push(self.one()?);
        }
        Ok(Expr::and(parts))
    }

    fn one(&mut self) -> Result<Expr<GroupRef>, Fault> {
        let token = self.peek().clone();
        match &token.what {
            Lexeme::Open => {
                self.deeper()?;
                self.skip();
                let inner = self.any_of()?;
                self.closing()?;
                self.depth -= 1;
                Ok(inner)
            }
            Lexeme::Word(word) if word == "not" => {
                self.deeper()?;
                self.skip();
                let inner = self.one()?;
                self.depth -= 1;
                Ok(inner.negated())
            }
            Lexeme::Word(word) => self.condition(&token, word),
            Lexeme::Quoted(_)
            | Lexeme::Operator(_)
            | Lexeme::Close
            | Lexeme::Comma
            | Lexeme::End => Err(self.unexpected(Want::Condition)),
        }
    }

    fn closing(&mut self) -> Result<(), Fault> {
        if self.peek().what != Lexeme::Close {
            return Err(self.unexpected(Want::Connective { closes: true }));
        }
        self.skip();
        Ok(())
    }

    fn condition(&mut self, token: &Token, word: &str) -> Result<Expr<GroupRef>, Fault> {
        if let Some(name) = word.strip_prefix("group:") {
            self.count(token.at)?;
            self.skip();
            return group(token.at, name);
        }
        match word {
            "all" => {
                self.count(token.at)?;
                self.skip();
                Ok(Expr::All)
            }
            "has" => {
                self.skip();
                self.has(token.at)
            }
            "and" | "or" | "in" => Err(self.unexpected(Want::Condition)),
            other => {
                let field = Field::parse(other).map_err(|hint| no_field(token.at, other, hint))?;
                self.skip();
                self.comparison(token.at, other, &field)
            }
        }
    }

    fn has(&mut self, start: usize) -> Result<Expr<GroupRef>, Fault> {
        let token = self.peek().clone();
        let Lexeme::Word(word) = &token.what else {
            return Err(self.unexpected(Want::Thing));
        };
        let thing = Thing::parse(word).map_err(|hint| no_field(token.at, word, hint))?;
        self.count(token.at)?;
        self.skip();
        Ok(term(start, What::Has(thing)))
    }

    fn comparison(
        &mut self,
        at: usize,
        word: &str,
        field: &Field,
    ) -> Result<Expr<GroupRef>, Fault> {
        let token = self.peek().clone();
        match &token.what {
            Lexeme::Operator(operator) => match (operator.as_str(), comparison(operator)) {
                ("=", _) => self.equal(at, word, field),
                ("!=", _) => self.equal(at, word, field).map(Expr::negated),
                (_, Some(side)) => self.bound(at, word, field, side),
                (other, None) => Err(self.no_operator(field, other)),
            },
            Lexeme::Word(word) if word == "in" => self.listed(at, field),
            Lexeme::Word(word) if word == "not" => {
                self.skip();
                if self.peek().what != Lexeme::Word("in".to_owned()) {
                    return Err(self.unexpected(Want::In(field.clone())));
                }
                self.listed(at, field).map(Expr::negated)
            }
            Lexeme::Word(_)
            | Lexeme::Quoted(_)
            | Lexeme::Open
            | Lexeme::Close
            | Lexeme::Comma
            | Lexeme::End => {
                let mut fault = self.unexpected(Want::Operator(field.clone()));
                fault.hint_unless_told(|| lone_word(field, word));
                Err(fault)
            }
        }
    }

    /// After `=`.
    fn equal(&mut self, at: usize, word: &str, field: &Field) -> Result<Expr<GroupRef>, Fault> {
        if *field == Field::Seen {
            return Err(self.unexpected(Want::Operator(field.clone())));
        }
        self.skip();
        let value = self.value(field)?;
        let what = values::equal(field, &value).map_err(|mut fault| {
            fault.hint_unless_told(|| no_component(field, word, &value.pattern));
            fault
        })?;
        Ok(term(at, what))
    }

    /// After `<` and its like.
    fn bound(
        &mut self,
        at: usize,
        word: &str,
        field: &Field,
        side: Comparison,
    ) -> Result<Expr<GroupRef>, Fault> {
        match field {
            Field::Id | Field::State | Field::Text(_) => {
                Err(self.unexpected(Want::Operator(field.clone())))
            }
            Field::Seen => {
                self.skip();
                let value = self.value(field)?;
                values::age(&value).map(|age| term(at, What::Seen(side, age)))
            }
            Field::Version(of) => {
                self.skip();
                let value = self.value(field)?;
                let version = values::version(&value).map_err(|mut fault| {
                    fault.hint_unless_told(|| no_component(field, word, &value.pattern));
                    fault
                })?;
                Ok(term(at, What::Version(of.clone(), VersionTest::Compare(side, version))))
            }
        }
    }

    /// After `in`: a list in parentheses, and for versions a range alone as well.
    fn listed(&mut self, at: usize, field: &Field) -> Result<Expr<GroupRef>, Fault> {
        if *field == Field::Seen {
            return Err(self.unexpected(Want::Operator(field.clone())));
        }
        self.skip();
        let listed = match (&self.peek().what, field) {
            (Lexeme::Open, _) => self.list(field)?,
            (Lexeme::Quoted(_) | Lexeme::Word(_), Field::Version(_)) => vec![self.value(field)?],
            _ => return Err(self.unexpected(Want::List(field.clone()))),
        };
        values::listed(field, &listed).map(|what| term(at, what))
    }

    fn list(&mut self, field: &Field) -> Result<Vec<Value>, Fault> {
        self.skip();
        let mut listed = vec![self.value(field)?];
        loop {
            match self.peek().what {
                Lexeme::Comma => {
                    self.skip();
                    listed.push(self.value(field)?);
                }
                Lexeme::Close => {
                    self.skip();
                    return Ok(listed);
                }
                Lexeme::Word(_)
                | Lexeme::Quoted(_)
                | Lexeme::Operator(_)
                | Lexeme::Open
                | Lexeme::End => return Err(self.unexpected(Want::ListGoesOn)),
            }
        }
    }

    fn value(&mut self, field: &Field) -> Result<Value, Fault> {
        let token = self.peek().clone();
        let pattern = match token.what {
            Lexeme::Quoted(pattern) => pattern,
            Lexeme::Word(word) if !super::pattern::NO_VALUES.contains(&word.as_str()) => {
                Pattern::of(word.chars().map(|letter| (letter != '*').then_some(letter)))
            }
            Lexeme::Word(_)
            | Lexeme::Operator(_)
            | Lexeme::Open
            | Lexeme::Close
            | Lexeme::Comma
            | Lexeme::End => return Err(self.unexpected(Want::Value(field.clone()))),
        };
        self.count(token.at)?;
        self.skip();
        Ok(Value { at: token.at, pattern })
    }

    fn no_operator(&self, field: &Field, found: &str) -> Fault {
        let mut fault = self.unexpected(Want::Operator(field.clone()));
        let meant = match found {
            "==" | "===" | "=~" | "~" | "~=" => Some("="),
            "!" | "!==" | "<>" | "!~" | "=!" => Some("!="),
            "=<" => Some("<="),
            "=>" => Some(">="),
            _ => None,
        };
        fault.hint_unless_told(|| Some(format!("write `{}`", meant?)));
        fault
    }

    fn peek(&self) -> &Token {
        // The last token is the end, and nobody goes past it.
        let last = self.tokens.len().saturating_sub(1);
        &self.tokens[self.next.min(last)]
    }

    fn skip(&mut self) {
        self.next += 1;
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(&self.peek().what, Lexeme::Word(word) if word == wanted);
        if found {
            self.skip();
        }
        found
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault { at: self.peek().at, kind: FaultKind::TooDeep });
        }
        Ok(())
    }

    fn count(&mut self, at: usize) -> Result<(), Fault> {
        self.terms += 1;
        if self.terms > MOST_TERMS {
            return Err(Fault { at, kind: FaultKind::TooMany });
        }
        Ok(())
    }

    fn unexpected(&self, want: Want) -> Fault {
        let token = self.peek();
        let hint = match (&token.what, &want) {
            (Lexeme::Word(word), Want::Connective { .. }) => match word.to_lowercase().as_str() {
                "and" => Some("write `and`".to_owned()),
                "or" => Some("write `or`".to_owned()),
                _ => None,
            },
            (Lexeme::Word(word), Want::Value(_)) => {
                Some(format!("if `{word}` is the value, put it in quotes"))
            }
            (Lexeme::Operator(found), _) => match found.as_str() {
                "&" | "&&" => Some("write `and`".to_owned()),
                "|" | "||" => Some("write `or`".to_owned()),
                "!" => Some("write `not`".to_owned()),
                _ => None,
            },
            (Lexeme::Comma, Want::Connective { .. }) => {
                Some("write `and` or `or` between conditions".to_owned())
            }
            _ => None,
        };
        let found = token.what.named();
        Fault { at: token.at, kind: FaultKind::Unexpected { want, found, hint } }
    }
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) at: usize,
    pub(super) pattern: Pattern,
}

impl Fault {
    fn hint_unless_told(&mut self, hint: impl FnOnce() -> Option<String>) {
        match &mut self.kind {
            FaultKind::Unexpected { hint: told @ None, .. }
            | FaultKind::Field { hint: told @ None, .. }
            | FaultKind::Value { hint: told @ None, .. } => *told = hint(),
            FaultKind::Unexpected { .. }
            | FaultKind::Field { .. }
            | FaultKind::Value { .. }
            | FaultKind::Empty
            | FaultKind::TooLong
            | FaultKind::TooDeep
            | FaultKind::TooMany
            | FaultKind::Letter { .. }
            | FaultKind::Escape { .. }
            | FaultKind::OpenQuote => {}
        }
    }
}

fn term(at: usize, what: What) -> Expr<GroupRef> {
    Expr::Term(Term { at: Place(at), what })
}

fn group(at: usize, name: &str) -> Result<Expr<GroupRef>, Fault> {
    if let Ok(name) = name.parse() {
        return Ok(Expr::Group(GroupRef { name, at: Place(at) }));
    }
    let wanted = "a group's name: lower-case letters, digits and single hyphens, directly after \
                  `group:`"
        .to_owned();
    let value = format!("`{}`", super::lex::cut(name));
    Err(Fault { at, kind: FaultKind::Value { value, wanted, hint: None } })
}

fn no_field(at: usize, word: &str, hint: Option<String>) -> Fault {
    Fault { at, kind: FaultKind::Field { field: super::lex::cut(word), hint } }
}

fn comparison(operator: &str) -> Option<Comparison> {
    match operator {
        "<" => Some(Comparison::Less),
        "<=" => Some(Comparison::LessOrEqual),
        ">" => Some(Comparison::Greater),
        ">=" => Some(Comparison::GreaterOrEqual),
        _ => None,
    }
}

/// What a component's name that stands alone was probably meant to be.
fn lone_word(field: &Field, word: &str) -> Option<String> {
    match field {
        Field::Version(super::expression::VersionField::Component(_)) => near_field(word)
            .or_else(|| Some(format!("for agents that have that component write `has {word}`"))),
        Field::Id | Field::State | Field::Seen | Field::Text(_) | Field::Version(_) => None,
    }
}

/// What somebody meant who compared a component with something that is no version.
fn no_component(field: &Field, word: &str, value: &Pattern) -> Option<String> {
    match field {
        Field::Version(super::expression::VersionField::Component(name))
            if name.as_str() == word =>
        {
            Some(near_field(word).unwrap_or_else(|| {
                format!("for the label of that name write `label.{word} = {value}`")
            }))
        }
        Field::Id | Field::State | Field::Seen | Field::Text(_) | Field::Version(_) => None,
    }
}
