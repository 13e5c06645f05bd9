"""Pays at a server with PayPal's API, with PayPal's own SDK.

Usage: paypal_sdk.py ADDRESS CLIENT_ID CLIENT_SECRET

Prints the id of each order, and goes on when a line arrives: then its shopper has approved it.
"""

import sys
from datetime import datetime, timedelta, timezone

from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.capture_request import CaptureRequest
from paypalserversdk.models.money import Money
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.payment_source import PaymentSource
from paypalserversdk.models.paypal_wallet import PaypalWallet
from paypalserversdk.models.paypal_wallet_experience_context import PaypalWalletExperienceContext
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient


def approved_order(orders, intent, number):
    """Creates an order, and waits until its shopper has approved it."""
    unit = PurchaseUnitRequest(
        amount=AmountWithBreakdown(currency_code="CAD", value="20.00"), custom_id=f"sdk-{number}-1", invoice_id=f"sdk-{number}-1"
    )
    context = PaypalWalletExperienceContext(return_url="https://shop.example/back", cancel_url="https://shop.example/back")
    body = OrderRequest(
        intent=intent,
        purchase_units=[unit],
        payment_source=PaymentSource(paypal=PaypalWallet(experience_context=context)),
    )
    options = {"body": body, "paypal_request_id": f"sdk-create-{number}", "prefer": "return=representation"}
    order = orders.create_order(options).body
    again = orders.create_order(options).body
    assert again.id == order.id, "the same request id made another order"
    assert order.status == "PAYER_ACTION_REQUIRED", order.status
    assert [link for link in order.links if link.rel == "payer-action"], order.links
    print(order.id, flush=True)
    sys.stdin.readline()
    assert orders.get_order({"id": order.id}).body.status == "APPROVED"
    return order.id


def refuses(call, options):
    """The issue with which a call is refused."""
    try:
        call(options)
    except ErrorException as error:
        return error.details[0].issue
    raise AssertionError("not refused")


def found(search):
    """The amounts of the transactions of the last hour, by their event code and custom field; two in each page."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    times = {"start_date": now - timedelta(hours=1), "end_date": now + timedelta(minutes=1)}
    times = {name: time.isoformat().replace("+00:00", "Z") for name, time in times.items()}
    amounts, page, pages = {}, 1, 1
    while page <= pages:
        answer = search({**times, "fields": "transaction_info", "page_size": 2, "page": page}).body
        for details in answer.transaction_details:
            info = details.transaction_info
            custom = getattr(info, "custom_field", None)
            assert info.transaction_status == "S", info.transaction_status
            amounts[info.transaction_event_code, custom] = info.transaction_amount.value
        page, pages = page + 1, answer.total_pages
    return amounts


def main(address, client_id, client_secret):
    """Captures and refunds an order; then authorizes, captures and voids others, and finds all of that."""
    Configuration.environments[Environment.SANDBOX][Server.DEFAULT] = address
    credentials = ClientCredentialsAuthCredentials(o_auth_client_id=client_id, o_auth_client_secret=client_secret)
    client = PaypalServersdkClient(client_credentials_auth_credentials=credentials)
    orders, payments = client.orders, client.payments

    order = approved_order(orders, "CAPTURE", 9601)
    capture = {"id": order, "paypal_request_id": "sdk-capture", "prefer": "return=representation"}
    captured = orders.capture_order(capture).body
    assert captured.status == "COMPLETED", captured.status
    charge = captured.purchase_units[0].payments.captures[0]
    assert (charge.status, charge.amount.value) == ("COMPLETED", "20.00")
    assert refuses(orders.capture_order, {"id": order, "paypal_request_id": "sdk-again"}) == "ORDER_ALREADY_CAPTURED"
    refund = {
        "capture_id": charge.id,
        "paypal_request_id": "sdk-refund",
        "body": RefundRequest(amount=Money(currency_code="CAD", value="5.00"), invoice_id="sdk-refund"),
    }
    refunded = payments.refund_captured_payment(refund).body
    assert refunded.status == "COMPLETED" and refunded.amount.value == "5.00"
    assert payments.get_refund({"refund_id": refunded.id}).body.invoice_id == "sdk-refund"
    assert payments.get_captured_payment({"capture_id": charge.id}).body.status == "PARTIALLY_REFUNDED"

    order = approved_order(orders, "AUTHORIZE", 9602)
    held = orders.authorize_order({"id": order, "paypal_request_id": "sdk-authorize"}).body
    authorization = held.purchase_units[0].payments.authorizations[0]
    assert authorization.status == "CREATED"
    capture = {
        "authorization_id": authorization.id,
        "paypal_request_id": "sdk-part",
        "body": CaptureRequest(amount=Money(currency_code="CAD", value="12.50"), final_capture=True),
    }
    assert payments.capture_authorized_payment(capture).body.amount.value == "12.50"

    order = approved_order(orders, "AUTHORIZE", 9603)
    held = orders.authorize_order({"id": order, "paypal_request_id": "sdk-hold"}).body
    authorization = held.purchase_units[0].payments.authorizations[0].id
    payments.void_payment({"authorization_id": authorization, "paypal_request_id": "sdk-void"})
    assert payments.get_authorized_payment({"authorization_id": authorization}).body.status == "VOIDED"

    amounts = found(client.transaction_search.search_transactions)
    assert amounts == {
        ("T0006", "sdk-9601-1"): "20.00",
        ("T1107", None): "5.00",
        ("T1300", "sdk-9602-1"): "20.00",
        ("T0006", "sdk-9602-1"): "12.50",
        ("T1300", "sdk-9603-1"): "20.00",
    }, amounts


main(*sys.argv[1:])
