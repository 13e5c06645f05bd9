//! The contract of both databases for card tokens and the simulated issuer's ledger.

use payment_service::domain::PaymentId;
use payment_service::store::rows::{CardToken, LedgerEntry, TokenId};
use payment_service::store::{Store, StoreError};

use super::samples::*;

async fn keep_tokens(database: &Store, tokens: &[CardToken]) {
    let mut tx = begin(database).await;
    tx.insert_tokens(tokens).await.unwrap();
    tx.commit().await.unwrap();
}

async fn read_token(database: &Store, name: &str) -> Option<CardToken> {
    let id = TokenId(name.to_owned());
    database.card_token(&id).await.unwrap()
}

pub async fn a_used_token_names_its_payment_and_has_no_card(database: Store) {
    let tokens = [token("tok_b"), token("tok_a"), token("tok_c")];
    keep_tokens(&database, &tokens).await;
    assert_eq!(read_token(&database, "tok_a").await, Some(token("tok_a")));
    let wanted = ["tok_c", "tok_unknown", "tok_a"].map(|name| TokenId(name.to_owned()));
    let mut tx = begin(&database).await;
    let locked = tx.lock_tokens(&wanted).await.unwrap();
    assert_eq!(locked, [token("tok_a"), token("tok_c")]);
    let uses = [
        (wanted[0].clone(), PaymentId(7)),
        (wanted[2].clone(), PaymentId(8)),
    ];
    tx.use_tokens(&uses).await.unwrap();
    tx.commit().await.unwrap();
    for (name, payment) in [("tok_c", 7), ("tok_a", 8)] {
        let used = CardToken {
            used_by: Some(PaymentId(payment)),
            sealed_card: None,
            ..token(name)
        };
        assert_eq!(read_token(&database, name).await, Some(used));
    }
    assert_eq!(read_token(&database, "tok_b").await, Some(token("tok_b")));
}

pub async fn a_token_is_found_only_by_its_exact_id(database: Store) {
    keep_tokens(&database, &[token("tok_a")]).await;
    let long = "x".repeat(10_000);
    for name in ["tok_a ", "TOK_A", "tok_", "", "tok_é", "' OR 1=1 --", &long] {
        assert_eq!(read_token(&database, name).await, None, "{name}");
        let mut tx = begin(&database).await;
        let locked = tx.lock_tokens(&[TokenId(name.to_owned())]).await.unwrap();
        assert_eq!(locked, [], "{name}");
    }
    let refused = begin(&database).await.insert_tokens(&[token(&long)]).await;
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "{refused:?}"
    );
}

pub async fn cards_of_expired_tokens_are_erased_in_small_batches(database: Store) {
    let expiring = |name: &str, at| CardToken {
        expires_at: seconds(at),
        ..token(name)
    };
    let mut used = expiring("tok_used", 0);
    used.sealed_card = None;
    let tokens = [
        expiring("tok_1", 1),
        expiring("tok_2", 2),
        expiring("tok_3", 3),
        expiring("tok_4", 4),
        used,
    ];
    keep_tokens(&database, &tokens).await;
    let erase = async |now, limit| {
        let mut tx = begin(&database).await;
        let erased = tx.erase_expired_tokens(now, limit).await.unwrap();
        tx.commit().await.unwrap();
        erased
    };
    assert_eq!(erase(seconds(1), 10).await, 0, "not before it has expired");
    assert_eq!(erase(seconds(4), 2).await, 2);
    assert_eq!(erase(seconds(4), 2).await, 1);
    assert_eq!(erase(seconds(4), 2).await, 0);
    for (number, token) in tokens[..4].iter().enumerate() {
        let kept = read_token(&database, &token.id.0).await.unwrap();
        assert_eq!(kept.sealed_card.is_some(), number == 3);
        assert_eq!(kept.expires_at, token.expires_at);
    }
}

pub async fn the_ledger_records_each_charge_and_reversal_once(database: Store) {
    let write = async |reverse, lines: &[_], at| {
        let mut tx = begin(&database).await;
        if reverse {
            tx.ledger_reverse(lines, seconds(at)).await.unwrap();
        } else {
            tx.ledger_charge(lines, seconds(at)).await.unwrap();
        }
        let keys: Vec<String> = ["3-1", "2-1", "9-9", "1-2", "1-1", "1-1"]
            .map(str::to_owned)
            .into();
        let mut entries = tx.ledger_entries(&keys).await.unwrap();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        tx.commit().await.unwrap();
        entries
    };
    let entry = |payment: i64, attempt, charged: Option<i64>, reversed: Option<i64>| LedgerEntry {
        key: line(payment, attempt).key,
        payment: PaymentId(payment),
        amount: line(payment, attempt).amount.minor(),
        held: false,
        test_card: None,
        charged_at: charged.map(seconds),
        reversed_at: reversed.map(seconds),
    };
    let first = write(false, &[line(2, 1), line(1, 1)], 1).await;
    let charged = [entry(1, 1, Some(1), None), entry(2, 1, Some(1), None)];
    assert_eq!(first, charged);
    assert_eq!(
        write(false, &[line(1, 1)], 2).await,
        charged,
        "charged again"
    );
    let reversed = write(true, &[line(2, 1), line(3, 1)], 3).await;
    let expected = [
        entry(1, 1, Some(1), None),
        entry(2, 1, Some(1), Some(3)),
        entry(3, 1, None, Some(3)),
    ];
    assert_eq!(reversed, expected);
    assert_eq!(
        write(true, &[line(3, 1), line(2, 1)], 4).await,
        expected,
        "reversed again"
    );
    assert_eq!(
        write(false, &[line(3, 1), line(2, 1)], 5).await,
        expected,
        "charged after a reversal"
    );
    write(false, &[line(1, 2)], 6).await;
    assert_eq!(
        database.ledger(PaymentId(1)).await.unwrap(),
        [entry(1, 1, Some(1), None), entry(1, 2, Some(6), None)]
    );
    assert_eq!(database.ledger(PaymentId(4)).await.unwrap(), []);
}
