// Shows the service's own description. Nothing is kept in the browser, and no outside validator is asked.
//
// What a newcomer tries first stands first: to create a payment. The description's own order is that of the alphabet.
const FIRST = ["createPayment", "processPayment", "getPayment"];

function place(operation) {
  const found = FIRST.indexOf(operation.getIn(["operation", "operationId"]));
  return found < 0 ? FIRST.length : found;
}

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#description",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  operationsSorter: (one, other) => place(one) - place(other),
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
