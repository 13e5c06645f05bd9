use super::*;

const LONGEST: usize = 16_000;

const NUMBERS_AND_LENGTHS: [(usize, usize); 8] = [
    (0, 1),
    (1, 1),
    (1, 100_000),
    (1000, 10),
    (5, 10_000),
    (9, 30_000),
    (77, 300),
    (256, 3),
];

fn rows(number: usize, length: usize) -> Vec<Row<'static>> {
    let row = |row: usize| {
        vec![
            SqlValue::from(i64::try_from(row).unwrap()),
            SqlValue::from("\"".repeat(length)),
        ]
    };
    (0..number).map(row).collect()
}

#[test]
fn json_is_split_between_rows_and_none_is_lost() {
    static STATEMENT: ManyRows = ManyRows::Json("SELECT ?, ?");
    for (number, length) in NUMBERS_AND_LENGTHS {
        let commands = STATEMENT
            .commands(rows(number, length), &[SqlValue::Number(-1)], LONGEST)
            .unwrap();
        let mut read: Vec<(usize, String)> = Vec::new();
        for (_, parameters) in commands {
            let [SqlValue::Text(json), SqlValue::Number(-1)] = parameters.as_slice() else {
                panic!("{parameters:?}");
            };
            let part: Vec<(usize, String)> = serde_json::from_str(json).unwrap();
            assert!(part.len() == 1 || json.len() <= LONGEST + 2);
            assert!(!part.is_empty());
            read.extend(part);
        }
        let written: Vec<_> = (0..number).map(|row| (row, "\"".repeat(length))).collect();
        assert_eq!(read, written);
    }
}

#[test]
fn values_are_split_into_lists_and_none_is_lost() {
    static STATEMENT: ManyRows = ManyRows::values("VALUES ", "(?, ?)", " END");
    for (number, length) in NUMBERS_AND_LENGTHS {
        let commands = STATEMENT
            .commands(rows(number, length), &[], LONGEST)
            .unwrap();
        let mut written: Vec<Row<'static>> = Vec::new();
        for (sql, parameters) in commands {
            let listed = parameters.len() / 2;
            assert!(SIZES.contains(&listed), "{listed}");
            assert!(listed == 1 || listed * (length + 8) <= LONGEST);
            assert_eq!(
                sql,
                format!("VALUES {} END", vec!["(?, ?)"; listed].join(", "))
            );
            written.extend(parameters.chunks(2).map(<[SqlValue<'_>]>::to_vec));
        }
        // The last row may be there several times.
        written.dedup();
        assert_eq!(written, rows(number, length));
    }
}

#[test]
fn a_batch_of_any_size_needs_at_most_two_statements_and_repeats_few_rows() {
    static STATEMENT: ManyRows = ManyRows::values("VALUES ", "(?, ?)", " END");
    for number in 1..=256 {
        let commands = STATEMENT.commands(rows(number, 10), &[], LONGEST).unwrap();
        assert!(commands.len() <= 2, "{number}: {}", commands.len());
        let parameters: usize = commands.iter().map(|(_, it)| it.len()).sum();
        let repeated = parameters / 2 - number;
        assert!(repeated <= number / 8, "{number}: {repeated}");
    }
}

#[test]
fn keys_are_padded_with_the_last_one_after_the_other_parameters() {
    static STATEMENT: ManyRows = ManyRows::keys("? IN (", ")");
    for number in [1, 2, 5, 256, 300] {
        let keys: Vec<Row<'static>> = (0..number)
            .map(|key: i64| vec![SqlValue::from(key)])
            .collect();
        let commands = STATEMENT
            .commands(keys, &[SqlValue::Null], LONGEST)
            .unwrap();
        let mut asked = Vec::new();
        for (sql, parameters) in commands {
            let (others, keys) = parameters.split_at(1);
            assert_eq!(others, [SqlValue::Null]);
            assert!(SIZES.contains(&keys.len()), "{}", keys.len());
            assert_eq!(sql, format!("? IN ({})", vec!["?"; keys.len()].join(", ")));
            asked.extend_from_slice(keys);
        }
        asked.dedup();
        let expected: Vec<_> = (0..number).map(SqlValue::Number).collect();
        assert_eq!(asked, expected);
    }
}

#[test]
fn pairs_become_keys_then_values_then_keys() {
    static STATEMENT: ManyRows = ManyRows::by_key(["? keys ", " values ", " in ", " end"]);
    for number in [1, 2, 5, 256, 300] {
        let pairs = rows(number, 3);
        let commands = STATEMENT
            .commands(pairs.clone(), &[SqlValue::Null], LONGEST)
            .unwrap();
        let mut read = Vec::new();
        for (sql, parameters) in commands {
            let (others, listed) = parameters.split_at(1);
            assert_eq!(others, [SqlValue::Null]);
            let size = listed.len() / 3;
            assert!(SIZES.contains(&size), "{size}");
            let list = vec!["?"; size].join(", ");
            assert_eq!(sql, format!("? keys {list} values {list} in {list} end"));
            let (keys, rest) = listed.split_at(size);
            let (values, again) = rest.split_at(size);
            assert_eq!(keys, again);
            let pairs = keys.iter().zip(values);
            read.extend(pairs.map(|(key, value)| vec![key.clone(), value.clone()]));
        }
        read.dedup();
        assert_eq!(read, pairs);
    }
}
