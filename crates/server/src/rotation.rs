//! Rotating keys on a person's word, whether the server runs or not.

use handover_store::{Store, StoreError, settings};

use crate::keys::Keys;
use crate::reconcile::{CHANNEL_CA, ORDER_KEY, Wish};
use crate::server::{database, has_database, options};
use crate::{Clock as _, Config, RealClock, StartError};

/// What is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The channel's certificate authority: the standby takes over, with a new standby.
    ChannelCa,
    /// The key that signs orders.
    OrderKey,
}

/// What became of the wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// No server runs; the keys were changed here and now.
    Done,
    /// A server runs, or the database serves several: it was told.
    Told,
}

/// Rotates a key. `at_once` does not wait for agents to follow: those that are away and hold an
/// older document than the one before are lost, and enrol again.
///
/// Blocks.
///
/// # Errors
/// [`StartError`].
pub fn rotate(config: &Config, what: Rotation, at_once: bool) -> Result<Rotated, StartError> {
    let now = RealClock::start().now().wall;
    let database = database(config)?;
    let options = options(now);
    let is_ours = match &database {
        handover_store::Database::Sqlite(_) => true,
        handover_store::Database::Postgres(_) => false,
    };
    if is_ours {
        let mut alone = options.clone();
        alone.busy = std::time::Duration::ZERO;
        match Store::open(&database, &alone) {
            // The open store keeps a server from starting meanwhile.
            Ok(_held) => return offline(config, has_database(&database), what, at_once, now),
            Err(StoreError::Locked { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let store = Store::attach(&database, &options)?;
    let key = match what {
        Rotation::ChannelCa => CHANNEL_CA,
        Rotation::OrderKey => ORDER_KEY,
    };
    store.write_blocking(move |tx| -> Result<(), StoreError> {
        let seen = settings::get::<Wish>(tx, key)?.map_or(0, |(_wish, generation)| generation);
        settings::set(tx, key, &Wish { at_once }, seen, now)?;
        Ok(())
    })?;
    Ok(Rotated::Told)
}

fn offline(
    config: &Config,
    has_database: bool,
    what: Rotation,
    at_once: bool,
    now: handover_model::Timestamp,
) -> Result<Rotated, StartError> {
    let keys = Keys::open(&config.data, has_database, now)?;
    match what {
        Rotation::ChannelCa => {
            keys.channel.rotate(keys.channel.authorities().wish(), now)?;
            if at_once {
                keys.channel.finish()?;
            }
        }
        Rotation::OrderKey => {
            keys.orders.rotate(keys.orders.ring().wish(), now)?;
            if at_once {
                keys.orders.finish()?;
            }
        }
    }
    Ok(Rotated::Done)
}
