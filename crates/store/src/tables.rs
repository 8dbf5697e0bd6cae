//! Every table by name, for what handles them all alike: backup, restore, check.

use crate::{Cell, StoreError, Tx, Value};

/// A table and the columns of its primary key.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [&'static str],
    /// Whether the database draws its keys.
    pub(crate) draws_keys: bool,
}

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key, draws_keys: false }
}

const fn drawn(name: &'static str) -> Table {
    Table { name, key: &["key"], draws_keys: true }
}

/// All of them; one that refers to another comes after it.
pub(crate) const TABLES: [Table; 26] = [
    table("schema_versions", &["number"]),
    table("meta", &["key"]),
    table("settings", &["key"]),
    table("leases", &["name"]),
    table("documents", &["kind", "number"]),
    drawn("agents"),
    table("presence", &["agent"]),
    table("agent_labels", &["agent", "label"]),
    table("agent_components", &["agent", "component"]),
    table("agent_quarantine", &["agent", "component", "version"]),
    table("reports", &["agent", "number"]),
    drawn("rollouts"),
    table("rollout_members", &["rollout", "chunk"]),
    table("rollout_decays", &["rollout", "position"]),
    table("rollout_checks", &["rollout", "name"]),
    drawn("orders"),
    drawn("order_steps"),
    drawn("tokens"),
    drawn("api_tokens"),
    table("pins", &["agent", "component"]),
    drawn("events"),
    drawn("audit"),
    table("idempotency", &["owner", "key"]),
    table("selections", &["name"]),
    drawn("webhooks"),
    drawn("deliveries"),
];

/// Rows that are read at once.
const PAGE: usize = 500;
/// Rows that are written by one statement.
const ROWS: usize = 50;

impl Table {
    /// The table's columns in a SQLite database; none when it has no such table.
    pub(crate) fn columns(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
        tx.query(sql, &[self.name.into()])?.iter().map(|row| row.get(0)).collect()
    }

    /// Copies every row.
    pub(crate) fn copy(
        &self,
        columns: &[String],
        from: &mut Tx<'_>,
        to: &mut Tx<'_>,
    ) -> Result<u64, StoreError> {
        let place: Vec<usize> = self
            .key
            .iter()
            .filter_map(|key| columns.iter().position(|column| column == key))
            .collect();
        let (mut copied, mut after): (u64, Vec<Cell>) = (0, Vec::new());
        loop {
            let page = self.page(columns, &after, from)?;
            for rows in page.chunks(ROWS) {
                self.insert(columns, rows, to)?;
            }
            copied += u64::try_from(page.len()).unwrap_or(u64::MAX);
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else {
                return Ok(copied);
            };
            after = place.iter().filter_map(|column| last.get(*column).cloned()).collect();
        }
    }

    fn page(
        &self,
        columns: &[String],
        after: &[Cell],
        from: &mut Tx<'_>,
    ) -> Result<Vec<Vec<Cell>>, StoreError> {
        let key = self.key.join(", ");
        let condition = if after.is_empty() {
            String::new()
        } else {
            let places: Vec<_> = (1..=after.len()).map(|number| format!("${number}")).collect();
            format!("WHERE ({key}) > ({})", places.join(", "))
        };
        let sql = format!(
            "SELECT {} FROM {} {condition} ORDER BY {key} LIMIT {PAGE}",
            columns.join(", "),
            self.name
        );
        let values: Vec<Value<'_>> = after.iter().map(Value::from).collect();
        Ok(from.query(&sql, &values)?.iter().map(|row| row.cells().to_vec()).collect())
    }

    fn insert(
        &self,
        columns: &[String],
        rows: &[Vec<Cell>],
        to: &mut Tx<'_>,
    ) -> Result<(), StoreError> {
        let mut values: Vec<Value<'_>> = Vec::with_capacity(rows.len() * columns.len());
        let mut places = Vec::with_capacity(rows.len());
        for row in rows {
            let first = values.len() + 1;
            values.extend(row.iter().map(Value::from));
            let row: Vec<_> = (first..=values.len()).map(|number| format!("${number}")).collect();
            places.push(format!("({})", row.join(", ")));
        }
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            self.name,
            columns.join(", "),
            places.join(", ")
        );
        to.execute(&sql, &values)?;
        Ok(())
    }
}
