//! How many connections to the database are in use.

/// The connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// `database`; or of a file `reader` and `writer`.
    pub pool: &'static str,
    /// Open and used by a transaction or a query.
    pub in_use: usize,
    /// Open and free.
    pub idle: usize,
    /// How many may be open.
    pub most: usize,
}

impl Connections {
    pub(super) fn of<DB: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<DB>) -> Self {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let idle = pool.num_idle();
        Self {
            pool: name,
            in_use: count(pool.size()).saturating_sub(idle),
            idle,
            most: count(pool.options().get_max_connections()),
        }
    }
}
