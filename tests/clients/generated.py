"""Makes, processes, captures, refunds and reads payments with the client that openapi-python-client made from docs/openapi.json.

Usage: generated.py URL KEY FOLDER-OF-THE-CLIENT
"""

import sys
import time

url, key, folder = sys.argv[1:]
sys.path.insert(0, folder)

from payment_client import AuthenticatedClient
from payment_client.api.cards import create_card_token
from payment_client.api.payments import (
    capture_payment,
    create_payment,
    get_payment,
    list_events,
    list_payments,
    process_payment,
    process_payment_by_link,
)
from payment_client.api.refunds import create_refund, get_refund, list_refunds
from payment_client.models import (
    CaptureRequest,
    Card,
    Payment,
    PaymentRequest,
    PaymentStatus,
    PresentedToken,
    Problem,
    Refund,
    RefundRequest,
)

client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)


def payment(answer):
    assert isinstance(answer, Payment), answer
    return answer


# Made without a card, paid with one.
request = PaymentRequest(order_id=1, user_id="1", total_amount=99.53)
made = payment(create_payment.sync(client=client, body=request, idempotency_key="order-1"))
assert made.status is PaymentStatus.REQUIRES_PAYMENT_METHOD and made.payment_method is None, made
card = Card(card_number="4242424242424242", card_code="123", expiration_date="2030-01")
paid = payment(process_payment.sync(made.payment_id, client=client, body=card))
assert paid.status is PaymentStatus.SUCCEEDED and paid.is_paid, paid
read = payment(get_payment.sync(made.payment_id, client=client))
assert read == paid and read.total_amount == 99.53 and read.payment_method.last4 == "4242", read

# At the old address, with a token of a declined card; another card after it.
again = payment(create_payment.sync(client=client, body=PaymentRequest(order_id=2, user_id=1, total_amount="12.00")))
token = PresentedToken(card_token="tok_insufficient_funds")
declined = payment(process_payment_by_link.sync(again.payment_id, client=client, body=token))
assert declined.status is PaymentStatus.DECLINED and declined.decline_code == "insufficient_funds", declined
token = create_card_token.sync(client=client, body=card)
paid = payment(process_payment.sync(again.payment_id, client=client, body=PresentedToken(card_token=token.card_token)))
assert paid.is_paid and paid.attempt == 2, paid

# Lists, a history and a refusal are read as well.
assert [it.order_id for it in list_payments.sync(client=client, status=PaymentStatus.SUCCEEDED).data] == [2, 1]
kinds = [str(it.type_) for it in list_events.sync(again.payment_id, client=client).data]
assert kinds == ["accepted", "attempt_started", "declined", "attempt_started", "succeeded"], kinds
refused = create_payment.sync(client=client, body=PaymentRequest(order_id=0, user_id=1, total_amount=1))
assert isinstance(refused, Problem) and refused.errors[0].field == "order_id", refused

# Authorized, captured in part and refunded. The same key again returns the same refund.
request = PaymentRequest.from_dict(
    {"order_id": 3, "user_id": 1, "total_amount": 100, "card_token": "tok_visa", "capture_method": "manual"}
)
held = payment(create_payment.sync(client=client, body=request))
held = payment(get_payment.sync(held.payment_id, client=client, prefer="wait=10"))
assert held.status is PaymentStatus.REQUIRES_CAPTURE and not held.is_paid, held
payment(capture_payment.sync(held.payment_id, client=client, body=CaptureRequest(amount=60)))
captured = payment(get_payment.sync(held.payment_id, client=client, prefer="wait=10"))
assert captured.is_paid and captured.amount_captured == 60, captured
request = RefundRequest(amount="25.00", reason="late")
refunds = [
    create_refund.sync(held.payment_id, client=client, body=request, idempotency_key="refund-1") for _ in range(2)
]
assert all(isinstance(it, Refund) for it in refunds) and refunds[0].refund_id == refunds[1].refund_id, refunds
for _ in range(100):
    refund = get_refund.sync(refunds[0].refund_id, client=client)
    if str(refund.status) != "pending":
        break
    time.sleep(0.1)
assert str(refund.status) == "succeeded" and refund.amount == 25, refund
listed = list_refunds.sync(held.payment_id, client=client).data
assert listed == [refund], listed
returned = payment(get_payment.sync(held.payment_id, client=client))
assert returned.is_paid and returned.amount_refunded == 25, returned
print("paid", made.payment_id, again.payment_id)
