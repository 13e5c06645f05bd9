// Makes, processes and reads a payment with the types that openapi-typescript made from docs/openapi.json.
//
// Usage: node client.js URL KEY

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Payment = components["schemas"]["Payment"];

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
console.log("paid", made.payment_id, again.payment_id);
