//! A selection's text as tokens.

use super::error::{Fault, FaultKind};
use super::pattern::{Pattern, is_bare};

/// A token and where it stands, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) what: Lexeme,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// Letters outside quotes.
    Word(String),
    /// A text in quotes.
    Quoted(Pattern),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`, or something that is meant to be one.
    Operator(String),
    Open,
    Close,
    Comma,
    /// The end of the text.
    End,
}

/// Splits a text; the last token is [`Lexeme::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some(&(at, letter)) = letters.peek() {
        if letter.is_whitespace() {
            letters.next();
            continue;
        }
        let what = match letter {
            '(' | ')' | ',' => {
                letters.next();
                match letter {
                    '(' => Lexeme::Open,
                    ')' => Lexeme::Close,
                    _comma => Lexeme::Comma,
                }
            }
            '"' | '\'' => quoted(&mut letters)?,
            _ if is_operator(letter) => Lexeme::Operator(run(&mut letters, is_operator)),
            _ if is_bare(letter) => Lexeme::Word(run(&mut letters, is_bare)),
            other => {
                return Err(Fault { at, kind: FaultKind::Letter { found: other } });
            }
        };
        let end = letters.peek().map_or(text.len(), |&(end, _)| end);
        tokens.push(Token { at, end, what });
    }
    tokens.push(Token { at: text.len(), end: text.len(), what: Lexeme::End });
    Ok(tokens)
}

type Letters<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn is_operator(letter: char) -> bool {
    matches!(letter, '=' | '!' | '<' | '>' | '&' | '|' | '~')
}

fn run(letters: &mut Letters<'_>, fits: impl Fn(char) -> bool) -> String {
    let mut text = String::new();
    while let Some((_, letter)) = letters.next_if(|&(_, letter)| fits(letter)) {
        text.push(letter);
    }
    text
}

/// A text in quotes of either kind. `\` keeps quotes, `*` and itself from meaning anything.
fn quoted(letters: &mut Letters<'_>) -> Result<Lexeme, Fault> {
    let Some((start, quote)) = letters.next() else {
        return Ok(Lexeme::End);
    };
    let mut text = Vec::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            _ if letter == quote => return Ok(Lexeme::Quoted(Pattern::of(text))),
            '\\' => match letters.next() {
                Some((_, kept @ ('"' | '\'' | '\\' | '*'))) => text.push(Some(kept)),
                Some((_, found)) => {
                    return Err(Fault { at, kind: FaultKind::Escape { found } });
                }
                None => break,
            },
            '*' => text.push(None),
            _ => text.push(Some(letter)),
        }
    }
    Err(Fault { at: start, kind: FaultKind::OpenQuote })
}

impl Lexeme {
    /// As a message names it.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Word(text) | Self::Operator(text) => format!("`{}`", cut(text)),
            Self::Quoted(pattern) => cut(&pattern.quoted()),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Cut to 80 characters.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
