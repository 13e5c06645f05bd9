//! Statements over many rows, and how rows are distributed to them. Only the database's statements decide how rows are
//! passed.
//!
//! Every text is prepared once for each connection, with room for a few hundred; with more, old ones would constantly be
//! closed and prepared again. So a text never depends on the exact number of rows: either all of them are one JSON
//! parameter, or there is a text for each of a few list sizes.

use std::collections::VecDeque;
use std::sync::OnceLock;

use super::StoreError;
use super::sql_values::{Row, SqlValue, to_json};

/// The possible lengths of a list. More rows than the last one do not queue up for one transaction.
const SIZES: [usize; 16] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// A statement in the SQL of each database.
#[derive(Debug)]
pub struct Both<T: 'static> {
    /// MySQL and MariaDB.
    pub mysql: T,
    /// SQLite.
    pub sqlite: T,
}

/// A statement over many rows.
#[derive(Debug)]
pub enum ManyRows {
    /// Takes them as its first parameter, a JSON array of arrays that the database parses.
    Json(&'static str),
    /// Lists them in its text, as its last parameters: a third cheaper for the database. The last row is repeated if that
    /// saves a statement and adds few rows: writing a row again must change nothing.
    Values(List),
    /// The same for keys to look up. The last one is repeated until the list is full.
    Keys(List),
    /// Takes rows of a key and a value, and lists keys, values and keys again: an UPDATE finds its rows by the keys, and a
    /// row's value by the position of its key. The last row is repeated until the lists are full.
    ByKey(List),
}

/// A statement's text around a list of rows.
#[derive(Debug)]
pub struct List {
    form: Form,
    /// The text for each size, created at the first use.
    texts: [OnceLock<String>; SIZES.len()],
}

/// How the rows are listed.
#[derive(Debug)]
enum Form {
    /// One after the other.
    Rows {
        before: &'static str,
        row: &'static str,
        after: &'static str,
    },
    /// Keys, values, keys, with these texts around them.
    ByKey([&'static str; 4]),
}

/// How far the last row may be repeated to fill a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// Up to the size of the list: looking up a key twice costs almost nothing.
    All,
    /// By at most an eighth of the rows, and within the statement's length. Each statement is a round trip.
    Some,
}

/// A statement with its parameters.
pub type Command<'r> = (&'static str, Vec<SqlValue<'r>>);

impl ManyRows {
    /// `before (?, ?), (?, ?) after`
    pub const fn values(before: &'static str, row: &'static str, after: &'static str) -> Self {
        Self::Values(List::new(Form::Rows { before, row, after }))
    }

    /// `before ?, ?, ? after`
    pub const fn keys(before: &'static str, after: &'static str) -> Self {
        let row = "?";
        Self::Keys(List::new(Form::Rows { before, row, after }))
    }

    /// `… ?, ?, ? … ?, ?, ? … ?, ?, ? …`: keys, values, keys
    pub const fn by_key(around: [&'static str; 4]) -> Self {
        Self::ByKey(List::new(Form::ByKey(around)))
    }

    /// The statements to run: usually a few, none if there are no rows. Each has at most `longest` bytes of rows, unless a
    /// single row is longer.
    pub fn commands<'r>(
        &'static self,
        rows: Vec<Row<'r>>,
        others: &[SqlValue<'r>],
        longest: usize,
    ) -> Result<Vec<Command<'r>>, StoreError> {
        match self {
            Self::Json(sql) => Ok(json_arrays(&rows, longest)?
                .into_iter()
                .map(|json| (*sql, [&[SqlValue::from(json)], others].concat()))
                .collect()),
            Self::Values(list) => Ok(list.commands(rows, others, longest, Fill::Some)),
            Self::Keys(list) | Self::ByKey(list) => {
                Ok(list.commands(rows, others, longest, Fill::All))
            }
        }
    }
}

impl List {
    const fn new(form: Form) -> Self {
        Self {
            form,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    fn commands<'r>(
        &'static self,
        rows: Vec<Row<'r>>,
        others: &[SqlValue<'r>],
        longest: usize,
        fill: Fill,
    ) -> Vec<Command<'r>> {
        let mut commands = Vec::new();
        let all = rows.len();
        let mut rows = VecDeque::from(rows);
        while let Some(first) = rows.front() {
            let width = first.len();
            let fitting = fitting(rows.iter(), longest);
            let at_most = SIZES.partition_point(|size| *size <= fitting).max(1) - 1;
            let at_least = SIZES.partition_point(|size| *size < fitting);
            let repeated = SIZES[at_least] - fitting;
            let is_filled = match fill {
                Fill::All => true,
                Fill::Some => {
                    fitting == rows.len()
                        && repeated <= all.min(SIZES[SIZES.len() - 1]) / 8
                        && bytes(rows.iter()) + repeated * rows.back().map_or(0, length) <= longest
                }
            };
            let place = if is_filled { at_least } else { at_most };
            let size = SIZES[place];
            let mut parameters = Vec::with_capacity(others.len() + size * width);
            parameters.extend_from_slice(others);
            parameters.extend(rows.drain(..size.min(fitting)).flatten());
            while parameters.len() < others.len() + size * width {
                parameters.extend_from_within(parameters.len() - width..);
            }
            if let Form::ByKey(_) = self.form {
                let listed = parameters.split_off(others.len());
                parameters.extend(by_key(&listed));
            }
            commands.push((self.text(place), parameters));
        }
        commands
    }

    fn text(&'static self, place: usize) -> &'static str {
        self.texts[place].get_or_init(|| match self.form {
            Form::Rows { before, row, after } => {
                let rows = vec![row; SIZES[place]].join(", ");
                format!("{before}{rows}{after}")
            }
            Form::ByKey(around) => around.join(&vec!["?"; SIZES[place]].join(", ")),
        })
    }
}

/// Converts a sequence of pairs into keys, values, keys.
fn by_key<'a, 'r>(pairs: &'a [SqlValue<'r>]) -> impl Iterator<Item = SqlValue<'r>> + use<'a, 'r> {
    let keys = pairs.iter().step_by(2);
    let values = pairs.iter().skip(1).step_by(2);
    keys.clone().chain(values).chain(keys).cloned()
}

/// How many of the first rows fit into one statement; at least one.
fn fitting<'r>(rows: impl Iterator<Item = &'r Row<'r>>, longest: usize) -> usize {
    let mut bytes = 0;
    let fits = |row: &&Row<'_>| {
        bytes += length(row);
        bytes <= longest
    };
    let most = SIZES[SIZES.len() - 1];
    rows.take(most).take_while(fits).count().max(1)
}

fn bytes<'r>(rows: impl Iterator<Item = &'r Row<'r>>) -> usize {
    rows.map(length).sum()
}

fn length(row: &Row<'_>) -> usize {
    row.iter().map(SqlValue::len).sum()
}

/// Rows as JSON arrays of arrays.
fn json_arrays(rows: &[Row<'_>], longest: usize) -> Result<Vec<String>, StoreError> {
    let mut arrays = Vec::new();
    let mut current = String::new();
    for row in rows {
        let row = to_json(row)?;
        if !current.is_empty() && current.len() + row.len() > longest {
            arrays.push(std::mem::take(&mut current) + "]");
        }
        current.push(if current.is_empty() { '[' } else { ',' });
        current.push_str(&row);
    }
    if !current.is_empty() {
        arrays.push(current + "]");
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests;
