-- Every index is written on the way of each payment, and these two answered no question of their own.

-- A history is read by its payment, in order. Which of some events are there is asked together with their payments.
ALTER TABLE payment_events
    DROP PRIMARY KEY,
    DROP KEY payment_events_in_order,
    ADD PRIMARY KEY (payment_id, sequence);

-- The audit counts the charges of all payments in one go.
ALTER TABLE issuer_ledger DROP KEY issuer_ledger_by_payment;
