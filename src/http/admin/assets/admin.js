// Keeps a page up to date: fetches it again and replaces its main part if that has changed. The server renders everything,
// so there is no text and no layout here.

const main = document.getElementById("main");
const offline = document.getElementById("offline");

// The parts that the reader has opened stay open.
function keepOpen(fresh) {
  for (const open of main.querySelectorAll("details[id][open]")) {
    fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
}

async function renew() {
  let answer;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(5000) });
  } catch {
    offline.hidden = false;
    return;
  }
  // The session has ended.
  if (answer.status === 401) {
    location.reload();
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("main");
  if (!fresh) return;
  offline.hidden = true;
  keepOpen(fresh);
  main.dataset.renewed = fresh.dataset.renewed;
  // A field that is being typed into is not taken away.
  const typing = main.contains(document.activeElement) && document.activeElement.matches("input, select");
  if (!typing && fresh.innerHTML !== main.innerHTML) main.replaceChildren(...fresh.childNodes);
}

// One renewal at a time; the page says how long to wait until the next one, and a result that passes ends the wait.
let wake = () => {};
async function keepRenewing() {
  while (Number(main.dataset.renewed) > 0) {
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, Number(main.dataset.renewed));
    });
    if (!document.hidden) await renew();
  }
}
keepRenewing();
document.addEventListener("visibilitychange", () => wake());

if (main.dataset.watches === "true") {
  const events = new EventSource("/api/events");
  events.addEventListener("passed", () => wake());
  // It was too slow; the browser connects again.
  events.addEventListener("dropped", () => wake());
}

async function send(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const said = answer.status === 204 ? {} : await answer.json();
  return { ok: answer.ok, said };
}

function complain(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text;
  notice.hidden = false;
}

document.getElementById("login")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  const { ok, said } = await send("/login", { token: field.value.trim() });
  if (ok) location.reload();
  else complain(said.error);
});

document.getElementById("logout")?.addEventListener("click", async () => {
  await send("/logout", {});
  location.assign("/");
});

for (const button of document.querySelectorAll("button[data-card]")) {
  button.addEventListener("click", async () => {
    const client = document.getElementById("client")?.value;
    const { ok, said } = await send("/api/try", { card: button.dataset.card, client });
    if (ok) location.assign(`/payments/${said.payment_id}`);
    else complain(said.error);
  });
}
