//! Which database: the text of `--database`, parsed once.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;

/// Which database a control plane keeps its state in.
///
/// Prints without the password, so that it may stand in errors and logs.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A file of this machine, used by one program at a time.
    Sqlite(Utf8PathBuf),
    /// A PostgreSQL server, by URL (`postgres://user@host/name?sslmode=require`).
    Postgres(String),
}

/// A text that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no database: use `sqlite:FILE` or `postgres://USER@HOST/NAME`, with \
     `?sslmode=require` for TLS"
)]
pub struct DatabaseError {
    /// What was offered, cut to 20 characters: the rest may hold a password.
    pub text: String,
}

impl FromStr for Database {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains("://") {
            return Err(DatabaseError { text: text.chars().take(20).collect() });
        }
        Ok(Self::Sqlite(path.into()))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{path}"),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `url` with its user part cut after the name, and without its query, which may hold a password
/// too.
fn without_password(url: &str) -> String {
    let url = url.split('?').next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or(user);
            format!("{scheme}://{name}@{host}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_by_a_path_or_a_url() {
        let sqlite = |path: &str| Ok(Database::Sqlite(path.into()));
        assert_eq!("sqlite:/a/b.db".parse(), sqlite("/a/b.db"));
        assert_eq!("sqlite:///a/b.db".parse(), sqlite("/a/b.db"));
        assert_eq!("b.db".parse(), sqlite("b.db"));
        assert!(matches!("postgres://h/d".parse(), Ok(Database::Postgres(_))));
        assert!("mysql://h/d".parse::<Database>().is_err());
        assert!("".parse::<Database>().is_err());
    }

    #[test]
    fn a_password_is_never_printed() {
        for url in ["postgres://ann:p@ss@h/d", "postgres://ann@h/d?password=p@ss"] {
            let database = Database::Postgres(url.to_owned());
            assert_eq!(format!("{database} {database:?}"), "postgres://ann@h/d postgres://ann@h/d");
        }
    }
}
