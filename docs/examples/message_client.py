#!/usr/bin/env python3
"""Pays an order or refunds a payment by message, and follows what happens: as a reply, and on the topic of results.

    pip install pika
    export PAYMENTS_AMQP_URL=amqp://store-manager:PASSWORD@127.0.0.1:5672/%2F
    export PAYMENTS_CLIENT=store-manager   # your name in CLIENTS_FILE
    python message_client.py --order 1 --amount 99.53 --card-token tok_visa
    python message_client.py --refund 42 --amount 5.00 --message-id refund-1   # returns 5.00 of payment 42

Exit code: 0 paid or refunded, 2 declined, failed or refused, 1 no result in time.
"""

import argparse
import json
import os
import sys
import uuid

import pika


def main() -> int:
    options = arguments()
    parameters = pika.URLParameters(options.amqp_url)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()  # from here on a publish returns when the broker has the message
    results, replies = declare(channel, options.client)
    request(channel, options, replies, parameters.credentials.username)
    ended = follow(channel, options, results, replies)
    connection.close()
    return ended


def declare(channel, client: str) -> tuple[str, str]:
    """Queues of our own: durable, so that results wait there while we are away. Their names begin with the client's."""
    results, replies = f"{client}.results", f"{client}.replies"
    for queue in (results, replies):
        channel.queue_declare(queue, durable=True)
    for key in (f"payment.*.{client}", f"refund.*.{client}"):
        channel.queue_bind(results, "payments.results", key)
    return results, replies


def request(channel, options: argparse.Namespace, replies: str, user: str) -> None:
    """Publishes the request. Sending the same message_id again is safe: it makes no second payment or refund."""
    routing_key, body, subject = refund(options) if options.refund else order(options)
    channel.basic_publish(
        exchange="payments.requests",
        routing_key=routing_key,
        mandatory=True,
        properties=pika.BasicProperties(
            message_id=options.message_id,
            user_id=user,
            content_type="application/json",
            correlation_id=options.message_id,
            reply_to=replies,
            delivery_mode=2,
        ),
        body=json.dumps(body),
    )
    print(f"{subject} sent")


def order(options: argparse.Namespace) -> tuple[str, dict, str]:
    body = {
        "order_id": options.order,
        "user_id": options.user,
        "total_amount": options.amount or "99.53",  # as text it is exact
        "card_token": options.card_token,  # never a card: a broker writes what it carries to disk
    }
    return "order.payment", body, f"order {options.order}"


def refund(options: argparse.Namespace) -> tuple[str, dict, str]:
    body = {"payment_id": options.refund}
    if options.amount:
        body["amount"] = options.amount  # without an amount: all that is left
    return "order.refund", body, f"refund of payment {options.refund}"


def follow(channel, options: argparse.Namespace, results: str, replies: str) -> int:
    """Reads both queues until each has told the end. Events may come twice or out of order: the id is what counts."""
    seen, ended = set(), {}
    for queue in (results, replies):
        for method, properties, body in channel.consume(queue, inactivity_timeout=options.seconds):
            if method is None:
                print(f"no result in {queue} within {options.seconds} seconds", file=sys.stderr)
                return 1
            event = json.loads(body)
            channel.basic_ack(method.delivery_tag)
            if properties.correlation_id != options.message_id or (queue, event["id"]) in seen:
                continue
            seen.add((queue, event["id"]))
            kind = event["type"].split(".")[1]
            print(f"{queue}: {event.get('subject') or 'no payment'} {kind}")
            if kind == "requires_action":
                action = event["data"]["next_action"]  # the outcome follows when the shopper has approved
                print(f"approve before {action['expires_at']}: {action['url']}", flush=True)
            elif kind != "requires_payment_method":
                ended[queue] = kind
                break
        channel.cancel()
    return 0 if set(ended.values()) == {"succeeded"} else 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_url = "amqp://guest:guest@127.0.0.1:5672/%2F"
    parser.add_argument("--amqp-url", default=os.environ.get("PAYMENTS_AMQP_URL", default_url))
    parser.add_argument("--client", default=os.environ.get("PAYMENTS_CLIENT", "store-manager"))
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("--order", type=int, help="pay: your number of the order")
    wish.add_argument("--refund", type=int, metavar="PAYMENT", help="refund: the id of the payment")
    parser.add_argument("--user", type=int, default=1, help="your number of the shopper")
    parser.add_argument("--amount", help="99.53 by default; of a refund, all that is left")
    parser.add_argument("--card-token", default="tok_visa", help="of POST /card-tokens, or a test token")
    parser.add_argument("--message-id", default=str(uuid.uuid4()), help="the idempotency key; a fresh one by default")
    parser.add_argument("--seconds", type=int, default=20, help="how long to wait for each result")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
