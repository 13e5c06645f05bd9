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

// Replaces the main part if it has changed.
function show(fresh) {
  keepOpen(fresh);
  // A field that is being typed into is not taken away.
  const typing = main.contains(document.activeElement) && document.activeElement.matches("input, select");
  if (!typing && fresh.innerHTML !== main.innerHTML) main.replaceChildren(...fresh.childNodes);
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
  main.dataset.renewed = fresh.dataset.renewed;
  show(fresh);
}

// The main part of some pages comes by events. While none has come for a while, the page is fetched again.
const SILENCE = 12_000;
let events = null;
let heard = 0;
let opened = 0;

function comesByEvents() {
  return Date.now() - heard < SILENCE;
}

// A hidden page keeps no stream open, and one that was refused is tried again later.
function watch() {
  if (main.dataset.watches !== "true") return;
  if (document.hidden) {
    events?.close();
    events = null;
    heard = 0;
    return;
  }
  if (events && (events.readyState !== EventSource.CLOSED || Date.now() - opened < SILENCE)) return;
  opened = Date.now();
  events = new EventSource("/api/events");
  events.addEventListener("page", (event) => {
    heard = Date.now();
    offline.hidden = true;
    show(new DOMParser().parseFromString(event.data, "text/html").body);
  });
  events.addEventListener("quiet", () => {
    heard = Date.now();
  });
  // The browser connects again by itself.
  events.addEventListener("error", () => {
    heard = 0;
    wake();
  });
}

// One renewal at a time; the page says how long to wait until the next one.
let wake = () => {};
async function keepRenewing() {
  while (Number(main.dataset.renewed) > 0) {
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, Number(main.dataset.renewed));
    });
    watch();
    if (!document.hidden && !comesByEvents()) await renew();
  }
}
watch();
keepRenewing();
document.addEventListener("visibilitychange", () => wake());

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
