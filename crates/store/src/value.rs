//! What goes into a statement and what comes out of it: three types that both databases have.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use handover_model::{Digest, Timestamp};

use crate::StoreError;
use crate::error::shortened;

/// A parameter of a statement: `$1` is the first. Made with `into()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL's NULL.
    Null,
    /// A whole number, also a truth value (0, 1) and a time (microseconds since 1970).
    Int(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(Cow<'a, [u8]>),
}

/// A cell of a row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// SQL's NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// One row of an answer. Cells are asked for by their place, from 0.
#[derive(Debug, Clone)]
pub struct Row {
    cells: Vec<Cell>,
    sql: Arc<str>,
}

#[cfg(test)]
impl Value<'_> {
    pub(crate) fn to_owned_value(&self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(int) => Value::Int(*int),
            Self::Text(text) => Value::Text(text.clone().into_owned().into()),
            Self::Blob(bytes) => Value::Blob(bytes.clone().into_owned().into()),
        }
    }
}

/// What a cell can be read as.
pub trait FromCell: Sized {
    /// What it is called in an error.
    const EXPECTED: &'static str;

    /// The value, or `None` when the cell holds something else.
    fn from_cell(cell: &Cell) -> Option<Self>;
}

impl Row {
    /// A row of what `sql` answered.
    pub(crate) fn new(cells: Vec<Cell>, sql: Arc<str>) -> Self {
        Self { cells, sql }
    }

    /// The cell at `column` as a `T`; `Option<T>` where it may be NULL.
    ///
    /// # Errors
    /// [`StoreError::CorruptRow`] when there is no such cell or it holds something else.
    pub fn get<T: FromCell>(&self, column: usize) -> Result<T, StoreError> {
        self.cells
            .get(column)
            .and_then(T::from_cell)
            .ok_or_else(|| self.corrupt(column, T::EXPECTED))
    }

    /// The text at `column`, parsed: ids, names, versions, states.
    ///
    /// # Errors
    /// [`StoreError::CorruptRow`] when it can't be parsed.
    pub fn parse<T: FromStr>(&self, column: usize) -> Result<T, StoreError> {
        let parsed = match self.cells.get(column) {
            Some(Cell::Text(text)) => text.parse().ok(),
            Some(Cell::Null | Cell::Int(_) | Cell::Blob(_)) | None => None,
        };
        parsed.ok_or_else(|| self.corrupt(column, std::any::type_name::<T>()))
    }

    /// The text at `column`, parsed, or `None` where it is NULL.
    ///
    /// # Errors
    /// [`StoreError::CorruptRow`] when it can't be parsed.
    pub fn parse_opt<T: FromStr>(&self, column: usize) -> Result<Option<T>, StoreError> {
        if self.cells.get(column) == Some(&Cell::Null) {
            return Ok(None);
        }
        self.parse(column).map(Some)
    }

    /// The JSON text at `column`, read as a `T`.
    ///
    /// # Errors
    /// [`StoreError::CorruptRow`] when it is not JSON of a `T`.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: usize) -> Result<T, StoreError> {
        let read = match self.cells.get(column) {
            Some(Cell::Text(text)) => serde_json::from_str(text).ok(),
            Some(Cell::Null | Cell::Int(_) | Cell::Blob(_)) | None => None,
        };
        read.ok_or_else(|| self.corrupt(column, std::any::type_name::<T>()))
    }

    /// The JSON text at `column`, read as a `T`, or `None` where it is NULL.
    ///
    /// # Errors
    /// [`StoreError::CorruptRow`] when it is not JSON of a `T`.
    pub fn json_opt<T: serde::de::DeserializeOwned>(
        &self,
        column: usize,
    ) -> Result<Option<T>, StoreError> {
        if self.cells.get(column) == Some(&Cell::Null) {
            return Ok(None);
        }
        self.json(column).map(Some)
    }

    /// All cells, in order.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The error for a cell that is not what it should be.
    pub(crate) fn corrupt(&self, column: usize, expected: &'static str) -> StoreError {
        let found = self.cells.get(column).map_or_else(
            || "missing".to_owned(),
            |cell| format!("{cell:?}").chars().take(60).collect(),
        );
        StoreError::CorruptRow { sql: shortened(&self.sql), column, expected, found }
    }
}

macro_rules! reads {
    ($type:ty, $expected:literal, $pattern:pat => $value:expr) => {
        impl FromCell for $type {
            const EXPECTED: &'static str = $expected;

            fn from_cell(cell: &Cell) -> Option<Self> {
                match cell {
                    $pattern => $value,
                    _ => None,
                }
            }
        }
    };
}

reads!(i64, "a number", Cell::Int(int) => Some(*int));
reads!(u64, "a number from 0", Cell::Int(int) => u64::try_from(*int).ok());
reads!(u32, "a number from 0", Cell::Int(int) => u32::try_from(*int).ok());
reads!(bool, "0 or 1", Cell::Int(int @ (0 | 1)) => Some(*int == 1));
reads!(String, "text", Cell::Text(text) => Some(text.clone()));
reads!(Vec<u8>, "bytes", Cell::Blob(bytes) => Some(bytes.clone()));
reads!(Timestamp, "a time", Cell::Int(int) => Some(Self::from_micros(*int)));
reads!(Digest, "a digest", Cell::Text(text) => text.parse().ok());

impl<T: FromCell> FromCell for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            Cell::Int(_) | Cell::Text(_) | Cell::Blob(_) => T::from_cell(cell).map(Some),
        }
    }
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u32> for Value<'_> {
    fn from(int: u32) -> Self {
        Self::Int(int.into())
    }
}

/// A number past `i64::MAX` is cut to it: none of ours comes near.
impl From<u64> for Value<'_> {
    fn from(int: u64) -> Self {
        Self::Int(i64::try_from(int).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value<'_> {
    fn from(int: usize) -> Self {
        Self::Int(i64::try_from(int).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Int(truth.into())
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Int(at.as_micros())
    }
}

impl From<&Digest> for Value<'_> {
    fn from(digest: &Digest) -> Self {
        Self::Text(digest.to_string().into())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.as_str().into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(bytes.into())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes.into())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<'a> From<&'a Cell> for Value<'a> {
    fn from(cell: &'a Cell) -> Self {
        match cell {
            Cell::Null => Self::Null,
            Cell::Int(int) => Self::Int(*int),
            Cell::Text(text) => Self::Text(text.as_str().into()),
            Cell::Blob(bytes) => Self::Blob(bytes.as_slice().into()),
        }
    }
}

/// The parameters of a statement: `params![id, name]` is an array of [`Value`]s.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::Value::from($value)),*][..]
    };
}

/// A document as its column holds it. Ours are made of texts, numbers, lists and maps with text
/// keys, which can always be written.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a document of ours has a JSON form")
}
