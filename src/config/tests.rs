//! What a configuration must contain, and that all of its errors are reported together.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;

const SERVERS: [(&str, &str); 3] = [
    ("DATABASE_URL", "mysql://payments:secret@db/payments"),
    ("AMQP_URL", "amqp://payment-service:secret@mq/%2F"),
    (
        "SEAL_KEYS",
        "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
];

fn load(role: Role, variables: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
    Config::load(role, &|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn faults(role: Role, variables: &[(&str, &str)]) -> Vec<&'static str> {
    let Err(faults) = load(role, variables) else {
        return Vec::new();
    };
    faults.iter().map(|fault| fault.variable).collect()
}

#[test]
fn server_urls_and_keys_are_enough_for_every_role() {
    for role in [Role::All, Role::Api, Role::Worker] {
        assert_eq!(faults(role, &SERVERS), [""; 0]);
    }
}

#[test]
fn all_errors_are_reported_together() {
    let wrong = [
        ("DATABASE_URL", "postgres://db/payments"),
        ("AMQP_URL", "http://mq"),
        ("LISTEN_ADDR", "5009"),
        ("PAYMENT_ID_MAX", "many"),
        ("DEFAULT_CURRENCY", "dollars"),
        ("PROCESSOR_TIMEOUT", "5"),
        ("ISSUER_LEDGER", "yes"),
    ];
    let mut told = faults(Role::Api, &wrong);
    told.sort_unstable();
    let mut expected: Vec<&str> = wrong
        .iter()
        .map(|(name, _)| *name)
        .chain(["SEAL_KEYS"])
        .collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn errors_never_contain_a_password() {
    let wrong = [
        ("DATABASE_URL", "mysql://payments:hunter2@db:port/payments"),
        ("AMQP_URL", "amqp://payments:hunter2@mq:port"),
        ("SEAL_KEYS", "k1:hunter2"),
    ];
    let Err(faults) = load(Role::Api, &wrong) else {
        panic!("it is wrong")
    };
    assert_eq!(faults.len(), 3);
    for fault in faults {
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}

#[test]
fn one_server_url_without_the_other_is_refused() {
    assert_eq!(
        faults(Role::Worker, &[SERVERS[0], SERVERS[2]]),
        ["AMQP_URL"]
    );
    assert_eq!(
        faults(Role::All, &[SERVERS[1], SERVERS[2]]),
        ["DATABASE_URL"]
    );
}

#[test]
fn without_a_clients_file_only_loopback_is_allowed() {
    let open = [
        SERVERS[0],
        SERVERS[1],
        SERVERS[2],
        ("LISTEN_ADDR", "0.0.0.0:5009"),
    ];
    assert_eq!(faults(Role::Api, &open), ["LISTEN_ADDR"]);
    assert_eq!(
        faults(Role::Worker, &open),
        [""; 0],
        "a worker serves nobody"
    );
}

#[test]
fn the_range_of_ids_must_not_be_too_small() {
    let none = [
        SERVERS[0],
        SERVERS[1],
        SERVERS[2],
        ("FIRST_PAYMENT_ID", "10"),
        ("PAYMENT_ID_MAX", "9"),
    ];
    assert_eq!(faults(Role::Api, &none), ["FIRST_PAYMENT_ID"]);
}

#[test]
fn the_example_file_lists_every_variable_and_no_other() {
    let asked = RefCell::new(BTreeSet::new());
    let _ = Config::load(Role::All, &|name| {
        asked.borrow_mut().insert(name.to_owned());
        SERVERS
            .iter()
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| (*value).to_owned())
    });
    let named = |line: &str| {
        let (name, _) = line.trim_start_matches('#').trim().split_once('=')?;
        name.bytes()
            .all(|b| b.is_ascii_uppercase() || b == b'_')
            .then(|| name.to_owned())
    };
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
    let example = std::fs::read_to_string(example).expect("the example file");
    // The variables after these headings belong to a command that needs no configuration, and to the files around the
    // service.
    let (example, _) = example
        .split_once("# --- The command `trigger` only")
        .expect("the heading");
    let listed: BTreeSet<String> = example.lines().filter_map(named).collect();
    assert_eq!(listed, asked.into_inner());
}

#[test]
fn log_settings_ignore_case_and_a_misspelling_is_an_error() {
    for (filter, format) in [
        ("info", "json"),
        ("INFO ", "JSON"),
        (" warn, payment_service=Debug", "text"),
        ("", ""),
    ] {
        let log = [
            SERVERS.as_slice(),
            &[("LOG", filter), ("LOG_FORMAT", format)],
        ]
        .concat();
        assert_eq!(faults(Role::Api, &log), [""; 0], "{filter} {format}");
    }
    for filter in [
        "inof",
        "verbose",
        "payment_service",
        "payment_service=inof",
        "=info",
        "a b=info",
        "3",
        ",",
    ] {
        let log = [SERVERS.as_slice(), &[("LOG", filter)]].concat();
        assert_eq!(faults(Role::Api, &log), ["LOG"], "{filter}");
    }
    let form = [SERVERS.as_slice(), &[("LOG_FORMAT", "yaml")]].concat();
    assert_eq!(faults(Role::Api, &form), ["LOG_FORMAT"]);
}

#[test]
fn misspelled_variables_are_reported() {
    let unknown = |names: &[&str]| {
        unknown_variables(
            names
                .iter()
                .map(|name| (OsString::from(name), OsString::new())),
        )
    };
    for (name, meant) in [
        ("LISTEN_ADR", "LISTEN_ADDR"),
        ("listen_addr", "LISTEN_ADDR"),
        ("DATABSAE_URL", "DATABASE_URL"),
        ("CLIENT_FILE", "CLIENTS_FILE"),
        ("LOG_FORMATS", "LOG_FORMAT"),
    ] {
        assert_eq!(unknown(&[name]), [(name.to_owned(), meant)]);
    }
    assert_eq!(
        unknown(&[
            "LISTEN_ADDR",
            "PATH",
            "HOME",
            "LOGNAME",
            "LANG",
            "HTTP_PROXY",
            "RUST_LOG",
            "MAIL",
            "USER"
        ]),
        []
    );
    assert_eq!(
        unknown(&["LISTEN_ADDR", "LISTEN_ADDRS"]),
        [],
        "it is set, so this one is something else"
    );
}

#[test]
fn the_data_folder_is_created_even_if_seal_keys_are_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("new/data");
    let data_dir = data.display().to_string();
    assert_eq!(
        faults(Role::All, &[("DATA_DIR", &data_dir), SERVERS[2]]),
        [""; 0]
    );
    assert!(data.is_dir());
}
