#!/usr/bin/env python3
"""Pays an order by REST, or refunds a payment, and waits for the outcome.

    pip install requests
    export PAYMENTS_URL=http://127.0.0.1:5009   # the service
    export PAYMENTS_KEY=...                     # the API key; not needed where the service has one client only
    python rest_client.py --order 1 --amount 99.53 --card 4242424242424242
    python rest_client.py --order 2 --amount 99.53 --capture 60.00   # authorizes 99.53, then captures 60.00 of it
    python rest_client.py --refund 42 --amount 5.00 --key refund-1   # returns 5.00 of payment 42
    python rest_client.py --order 3 --wallet   # prints the page on which the shopper approves, and waits for the shopper

Exit code: 0 paid or refunded, 2 declined, failed or not ended in time, 1 a request that was refused.
"""

import argparse
import os
import sys
import time
import uuid

import requests


def main() -> int:
    options = arguments()
    session = requests.Session()
    if key := os.environ.get("PAYMENTS_KEY"):
        session.headers["Authorization"] = f"Bearer {key}"
    return refund(session, options) if options.refund else pay(session, options)


def pay(session: requests.Session, options: argparse.Namespace) -> int:
    order = {
        "order_id": options.order,
        "user_id": options.user,
        "total_amount": options.amount or "99.53",  # as text it is exact
        "capture_method": "manual" if options.capture else "automatic",
    }
    if options.wallet:
        order["payment_method"] = {"type": "wallet"}
    else:
        order["card"] = {"cardNumber": options.card, "cardCode": "123", "expirationDate": "01/30"}
    payment = post(session, f"{options.url}/payments", order, options.key)
    print(f"payment {payment['payment_id']} accepted: {payment['status']}")
    address = f"{options.url}/payments/{payment['payment_id']}"
    payment = outcome(session, address, options.seconds)
    if payment["status"] == "requires_action":  # of a wallet, and of some cards: 3-D Secure
        payment = approved(session, address, payment, options.seconds)
    if payment["status"] == "requires_capture":
        print(f"payment {payment['payment_id']} authorized until {payment['capture_before']}")
        post(session, f"{address}/capture", {"amount": options.capture}, f"{options.key}-capture")
        payment = outcome(session, address, options.seconds)
    print(f"payment {payment['payment_id']} {payment['status']}, decline code: {payment['decline_code'] or 'none'}")
    for event in checked(session.get(f"{address}/events", timeout=10))["data"]:
        print(f"  {event['sequence']}. {event['type']}, attempt {event['attempt']}, try {event['try']}")
    print(f"captured: {payment['amount_captured']} of {payment['total_amount']} {payment['currency']}")
    return 0 if payment["is_paid"] else 2


def approved(session: requests.Session, address: str, payment: dict, seconds: int) -> dict:
    """Waits for the shopper. A shop redirects the shopper to this page, and reads the payment when they come back."""
    action = payment["next_action"]
    print(f"approve before {action['expires_at']}: {action['url']}", flush=True)
    deadline = time.monotonic() + seconds
    while payment["status"] == "requires_action" and time.monotonic() < deadline:
        time.sleep(0.5)
        payment = outcome(session, address, seconds)
    return payment


def refund(session: requests.Session, options: argparse.Namespace) -> int:
    """Returns the amount, or all that is left. The payment stays paid, whether the refund succeeds or fails."""
    address = f"{options.url}/payments/{options.refund}"
    wanted = {"amount": options.amount} if options.amount else {}
    current = post(session, f"{address}/refunds", wanted, options.key)
    print(f"refund {current['refund_id']} accepted: {current['amount']} {current['currency']}")
    deadline = time.monotonic() + options.seconds
    while current["status"] == "pending" and time.monotonic() < deadline:
        time.sleep(0.2)
        current = checked(session.get(f"{options.url}/refunds/{current['refund_id']}", timeout=10))
    print(f"refund {current['refund_id']} {current['status']}, failure code: {current['failure_code'] or 'none'}")
    payment = checked(session.get(address, timeout=10))
    print(f"refunded: {payment['amount_refunded']} of {payment['amount_captured']} {payment['currency']}")
    return 0 if current["status"] == "succeeded" else 2


def post(session: requests.Session, url: str, body: dict, key: str) -> dict:
    """Sends a request; again, if no answer came. Under one key the service carries it out once, however often it arrives."""
    headers = {"Idempotency-Key": key}
    for last in (False, False, True):
        try:
            return checked(session.post(url, json=body, headers=headers, timeout=10))
        except (requests.ConnectionError, requests.Timeout):
            if last:
                raise
    raise AssertionError("unreachable")


def outcome(session: requests.Session, address: str, seconds: int) -> dict:
    """Waits without asking again and again: the service answers as soon as it knows."""
    return checked(session.get(address, headers={"Prefer": f"wait={seconds}"}, timeout=seconds + 10))


def checked(answer: requests.Response) -> dict:
    """The answer's body, or the end with the one sentence that every refusal carries."""
    if answer.ok:
        return answer.json()
    print(f"{answer.status_code}: {answer.json()['error']}", file=sys.stderr)
    for fault in answer.json()["errors"]:
        print(f"  {fault['field']}: {fault['message']}", file=sys.stderr)
    sys.exit(1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("PAYMENTS_URL", "http://127.0.0.1:5009"))
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("--order", type=int, help="pay: your number of the order")
    wish.add_argument("--refund", type=int, metavar="PAYMENT", help="refund: the id of the payment")
    parser.add_argument("--user", type=int, default=1, help="your number of the shopper")
    parser.add_argument("--amount", help="99.53 by default; of a refund, all that is left")
    parser.add_argument("--card", default="4242424242424242", help="a test card")
    parser.add_argument("--wallet", action="store_true", help="pay with an electronic wallet instead of a card")
    parser.add_argument("--capture", metavar="AMOUNT", help="only authorize, then capture this amount")
    parser.add_argument("--key", default=str(uuid.uuid4()), help="idempotency key; a fresh one by default")
    parser.add_argument("--seconds", type=int, default=20, help="how long to wait for the outcome")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
