//! Leases: which replica does what only one may do. The fence counts every change of holder, and
//! whoever writes under a lease checks it in the same transaction.

use std::time::Duration;

use handover_model::Timestamp;

use crate::{StoreError, Tx, params};

/// A lease that is held, as far as its holder knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased: `sequencer`, ….
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Raised with every change of holder.
    pub fence: i64,
    /// Until when, unless renewed, by the clock of the one who asked.
    pub until: Timestamp,
}

/// Takes a lease that is free or over, or renews one's own; `None` while another holds it.
///
/// # Errors
/// [`StoreError`].
pub fn acquire(
    tx: &mut Tx<'_>,
    name: &str,
    holder: &str,
    now: Timestamp,
    length: Duration,
) -> Result<Option<Lease>, StoreError> {
    let row =
        tx.query_opt("SELECT holder, fence, until FROM leases WHERE name = $1", params![name])?;
    let until = now.after(length);
    let fence = match row {
        None => 1,
        Some(row) => {
            let (held_by, fence) = (row.get::<String>(0)?, row.get::<i64>(1)?);
            if held_by == holder {
                fence
            } else if row.get::<Timestamp>(2)? <= now {
                fence + 1
            } else {
                return Ok(None);
            }
        }
    };
    tx.execute(
        "INSERT INTO leases (name, holder, fence, until) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = excluded.fence, \
         until = excluded.until",
        params![name, holder, fence, until],
    )?;
    Ok(Some(Lease { name: name.to_owned(), holder: holder.to_owned(), fence, until }))
}

/// Gives a lease back, so that the next one need not wait. One that was taken over is left alone.
///
/// # Errors
/// [`StoreError`].
pub fn release(tx: &mut Tx<'_>, lease: &Lease) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE leases SET until = 0, holder = '' WHERE name = $1 AND fence = $2 AND holder = $3",
        params![&lease.name, lease.fence, &lease.holder],
    )?;
    Ok(())
}

/// Ends every lease: for whoever knows that no other replica lives, as the holder of a SQLite
/// file's lock does. Fences go on counting.
///
/// # Errors
/// [`StoreError`].
pub fn end_all(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.execute("UPDATE leases SET until = 0", &[])?;
    Ok(())
}

impl Tx<'_> {
    /// Makes sure that `lease` was not taken over. Together with the transaction it keeps a
    /// holder who slept through its lease from writing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when it was.
    pub fn check_fence(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let row = self.query_opt(
            "SELECT fence FROM leases WHERE name = $1 AND holder = $2",
            params![&lease.name, &lease.holder],
        )?;
        let found = row.map_or(Ok(0), |row| row.get(0))?;
        if found == lease.fence {
            return Ok(());
        }
        Err(StoreError::Fenced { lease: lease.name.clone(), held: lease.fence, found })
    }
}
