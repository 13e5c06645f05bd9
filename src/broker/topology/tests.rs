//! The content of the file, and what follows from it.

use super::*;

const EXCHANGES: [Exchange; 4] = [
    Exchange::Requests,
    Exchange::Work,
    Exchange::Results,
    Exchange::DeadLetters,
];

#[test]
fn every_queue_and_exchange_in_the_code_is_defined_and_durable() {
    let topology = Topology::of_definitions().expect("definitions");
    for exchange in EXCHANGES {
        assert!(
            topology
                .exchanges
                .iter()
                .any(|it| it.name == exchange.name() && it.durable),
            "{exchange:?}"
        );
    }
    for queue in Queue::ALL {
        assert!(
            topology
                .queues
                .iter()
                .any(|it| it.name == queue.name() && it.durable),
            "{queue:?}"
        );
        // Callbacks are bound only while a client wants them.
        assert!(
            queue == Queue::Callbacks
                || topology
                    .bindings
                    .iter()
                    .any(|it| it.destination == queue.name()),
            "{queue:?}"
        );
    }
    for binding in &topology.bindings {
        assert!(
            EXCHANGES.iter().any(|it| it.name() == binding.source),
            "{binding:?}"
        );
        assert!(
            Queue::ALL.iter().any(|it| it.name() == binding.destination),
            "{binding:?}"
        );
    }
}

#[test]
fn every_queue_has_a_length_limit_that_rejects_and_a_delivery_limit() {
    for queue in Topology::of_definitions().expect("definitions").queues {
        assert_eq!(queue.text("x-queue-type"), Some("quorum"), "{}", queue.name);
        assert_eq!(
            queue.text("x-overflow"),
            Some("reject-publish"),
            "{}",
            queue.name
        );
        assert!(queue.number("x-max-length").is_some(), "{}", queue.name);
        assert!(queue.number("x-delivery-limit").is_some(), "{}", queue.name);
    }
}

/// The broker does not report that it falls back to dead-lettering at most once.
#[test]
fn at_least_once_dead_lettering_has_the_arguments_that_it_requires() {
    let topology = Topology::of_definitions().expect("definitions");
    assert_eq!(topology.dead_letter_faults(), Vec::<String>::new());
    for argument in [
        "x-overflow",
        "x-dead-letter-strategy",
        "x-dead-letter-routing-key",
    ] {
        let mut broken = topology.clone();
        broken.queues[0].arguments.remove(argument);
        assert_eq!(broken.dead_letter_faults().len(), 1, "{argument}");
    }
}

#[test]
fn topic_patterns_match_as_in_rabbitmq() {
    for (pattern, key, expected) in [
        ("payment.succeeded.*", "payment.succeeded.shop", true),
        ("payment.*.shop", "payment.declined.shop", true),
        ("payment.*.shop", "payment.shop", false),
        ("payment.*", "payment.declined.shop", false),
        ("payment.#", "payment", true),
        ("payment.#", "payment.declined.shop", true),
        ("#.shop", "payment.declined.shop", true),
        ("#.declined.#", "payment.declined.shop", true),
        ("#", "anything.at.all", true),
        ("", "payment", false),
    ] {
        assert_eq!(topic_matches(pattern, key), expected, "{pattern} {key}");
    }
}
