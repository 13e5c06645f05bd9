// Makes, processes, captures, refunds and reads payments with the types that openapi-typescript made from docs/openapi.json.
//
// Usage: node client.js URL KEY

import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./api.js";

type Payment = components["schemas"]["Payment"];
type Refund = components["schemas"]["Refund"];

const [url, key] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

function check(condition: boolean, what: unknown): asserts condition {
  if (!condition) throw new Error(JSON.stringify(what));
}

function payment(answer: { data?: Payment; error?: components["schemas"]["Problem"] }): Payment {
  if (answer.data === undefined) throw new Error(answer.error?.error);
  return answer.data;
}

const card: components["schemas"]["Card"] = {
  cardNumber: "4242424242424242",
  cardCode: "123",
  expirationDate: "2030-01",
};

// Made without a card, paid with one.
const made = payment(
  await client.POST("/payments", {
    params: { header: { "Idempotency-Key": "order-1" } },
    body: { order_id: 1, user_id: "1", total_amount: 99.53 },
  }),
);
check(made.status === "requires_payment_method" && made.payment_method === null, made);
const path = { payment_id: made.payment_id };
const paid = payment(await client.POST("/payments/{payment_id}/process", { params: { path }, body: card }));
check(paid.status === "succeeded" && paid.is_paid, paid);
const read = payment(await client.GET("/payments/{payment_id}", { params: { path } }));
check(read.payment_method?.last4 === "4242" && read.total_amount === 99.53, read);

// At the old address, with a token of a declined card; another card after it.
const again = payment(
  await client.POST("/payments", { body: { order_id: 2, user_id: 1, total_amount: "12.00" } }),
);
const other = { payment_id: again.payment_id };
const declined = payment(
  await client.POST("/payments/process/{payment_id}", {
    params: { path: other },
    body: { card_token: "tok_insufficient_funds" },
  }),
);
check(declined.status === "declined" && declined.decline_code === "insufficient_funds", declined);
const token = await client.POST("/card-tokens", { body: card });
check(token.data !== undefined, token.error);
const second = payment(
  await client.POST("/payments/{payment_id}/process", {
    params: { path: other },
    body: { card_token: token.data.card_token },
  }),
);
check(second.is_paid && second.attempt === 2, second);

// Lists, a history and a refusal are read as well.
const listed = await client.GET("/payments", { params: { query: { status: "succeeded" } } });
check(listed.data?.data.map((it) => it.order_id).join() === "2,1", listed);
const history = await client.GET("/payments/{payment_id}/events", { params: { path: other } });
const kinds = history.data?.data.map((it) => it.type).join();
check(kinds === "accepted,attempt_started,declined,attempt_started,succeeded", kinds);
const refused = await client.POST("/payments", { body: { order_id: 0, user_id: 1, total_amount: 1 } });
check(refused.error?.errors?.[0]?.field === "order_id", refused.error);

// Authorized, captured in part and refunded. The same key again returns the same refund; a refund without a key does not
// compile.
const held = payment(
  await client.POST("/payments", {
    params: { header: { Prefer: "wait=10" } },
    body: { order_id: 3, user_id: 1, total_amount: 100, card_token: "tok_visa", capture_method: "manual" },
  }),
);
const third = { payment_id: held.payment_id };
const wait = { Prefer: "wait=10" };
const authorized = payment(await client.GET("/payments/{payment_id}", { params: { path: third, header: wait } }));
check(authorized.status === "requires_capture" && !authorized.is_paid, authorized);
payment(await client.POST("/payments/{payment_id}/capture", { params: { path: third }, body: { amount: 60 } }));
const captured = payment(await client.GET("/payments/{payment_id}", { params: { path: third, header: wait } }));
check(captured.is_paid && captured.amount_captured === 60, captured);

async function refund(amount: number | string): Promise<Refund> {
  const params = { path: third, header: { "Idempotency-Key": "refund-1" } };
  const answer = await client.POST("/payments/{payment_id}/refunds", { params, body: { amount, reason: "late" } });
  if (answer.data === undefined) throw new Error(answer.error?.error);
  return answer.data;
}

const begun = await refund("25.00");
check((await refund("25.00")).refund_id === begun.refund_id, begun);
// @ts-expect-error: the key is required
const keyless = await client.POST("/payments/{payment_id}/refunds", { params: { path: third } });
check(keyless.error?.errors?.[0]?.field === "Idempotency-Key", keyless.error);
let refunded: Refund | undefined;
for (let read = 0; read < 100 && (refunded === undefined || refunded.status === "pending"); read++) {
  if (read > 0) await new Promise((resolve) => setTimeout(resolve, 100));
  const answer = await client.GET("/refunds/{refund_id}", { params: { path: { refund_id: begun.refund_id } } });
  refunded = answer.data;
}
check(refunded?.status === "succeeded" && refunded.amount === 25, refunded);
const refunds = await client.GET("/payments/{payment_id}/refunds", { params: { path: third } });
check(refunds.data?.data.length === 1 && refunds.data.data[0]?.refund_id === begun.refund_id, refunds);
const returned = payment(await client.GET("/payments/{payment_id}", { params: { path: third } }));
check(returned.is_paid && returned.amount_refunded === 25, returned);

// A receiver of callbacks knows each event by its type.
type Callback = NonNullable<webhooks["refund.failed" | "payment.requires_capture"]["post"]["requestBody"]>;
function told(event: Callback["content"]["application/json"]): string {
  return event.type === "refund.failed" ? `${event.data.refund_id} failed` : `${event.data.payment_id} waits`;
}
check(told.length === 1, told.name);
console.log("paid", made.payment_id, again.payment_id);
