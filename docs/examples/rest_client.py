#!/usr/bin/env python3
"""Pays an order by REST: creates a payment, waits for its outcome, and shows its history.

    pip install requests
    export PAYMENTS_URL=http://127.0.0.1:5009   # the service
    export PAYMENTS_KEY=...                     # the API key; not needed where the service has one client only
    python rest_client.py --order 1 --amount 99.53 --card 4242424242424242

Exit code: 0 paid, 2 declined, failed or still processing, 1 a request that was refused.
"""

import argparse
import os
import sys
import uuid

import requests


def main() -> int:
    options = arguments()
    session = requests.Session()
    if key := os.environ.get("PAYMENTS_KEY"):
        session.headers["Authorization"] = f"Bearer {key}"

    payment = create(session, options)
    print(f"payment {payment['payment_id']} accepted: {payment['status']}")
    payment = outcome(session, options.url, payment["payment_id"], options.seconds)
    print(f"payment {payment['payment_id']} {payment['status']}, decline code: {payment['decline_code'] or 'none'}")
    for event in checked(session.get(f"{options.url}/payments/{payment['payment_id']}/events", timeout=10))["data"]:
        print(f"  {event['sequence']}. {event['type']}, attempt {event['attempt']}, try {event['try']}")
    return 0 if payment["is_paid"] else 2


def create(session: requests.Session, options: argparse.Namespace) -> dict:
    """Sends the request; again, if no answer came. The key makes one payment of it, however often it arrives."""
    order = {
        "order_id": options.order,
        "user_id": options.user,
        "total_amount": options.amount,  # as text it is exact
        "card": {"cardNumber": options.card, "cardCode": "123", "expirationDate": "01/30"},
    }
    headers = {"Idempotency-Key": options.key}
    for last in (False, False, True):
        try:
            return checked(session.post(f"{options.url}/payments", json=order, headers=headers, timeout=10))
        except (requests.ConnectionError, requests.Timeout):
            if last:
                raise
    raise AssertionError("unreachable")


def outcome(session: requests.Session, url: str, payment_id: int, seconds: int) -> dict:
    """Waits without asking again and again: the service answers as soon as it knows."""
    headers = {"Prefer": f"wait={seconds}"}
    return checked(session.get(f"{url}/payments/{payment_id}", headers=headers, timeout=seconds + 10))


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
    parser.add_argument("--order", type=int, required=True, help="your number of the order")
    parser.add_argument("--user", type=int, default=1, help="your number of the shopper")
    parser.add_argument("--amount", default="99.53")
    parser.add_argument("--card", default="4242424242424242", help="a test card")
    parser.add_argument("--key", default=str(uuid.uuid4()), help="idempotency key; a fresh one by default")
    parser.add_argument("--seconds", type=int, default=20, help="how long to wait for the outcome")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
