// Which view is shown, and what is seen above all of them: whether the agent is well.

import { ask, pause, repeat } from "./ask.js";
import { certificates } from "./certificates.js";
import { diagnostics } from "./diagnostics.js";
import { h } from "./element.js";
import { explain } from "./explain.js";
import { clock, lasting } from "./figures.js";
import { l4 } from "./l4.js";
import { routes } from "./routes.js";
import { traffic } from "./traffic.js";

const VIEWS = [
  ["traffic", "Traffic", traffic],
  ["routes", "Routes", routes],
  ["diagnostics", "Diagnostics", diagnostics],
  ["certificates", "Certificates", certificates],
  ["l4", "L4", l4],
  ["explain", "Explain", explain],
];
const find = (id) => document.getElementById(id);
const main = find("main");

/// The address of a view with what it shows.
function link(name, place) {
  const query = new URLSearchParams(Object.entries(place).filter(([, value]) => value !== undefined && value !== null)).toString();
  return `#/${name}${query ? `?${query}` : ""}`;
}

const links = new Map(VIEWS.map(([name, title]) => [name, h("a", { href: link(name, {}) }, title)]));
find("views").append(...links.values());

// What is wrong, by who found out: the view, or the status.
const failures = new Map();
let answered = null;
let problems = [];

function tellProblems() {
  const failure = failures.values().next().value;
  const lines = failure
    ? [["error", `No answer from the agent${answered ? `; what is shown is of ${clock(answered)}` : ""}: ${failure.message}`], ...problems]
    : problems;
  const alerts = find("alerts");
  const told = JSON.stringify(lines);
  // An alert is read aloud: not again for the same.
  if (alerts.dataset.told === told) return;
  alerts.dataset.told = told;
  alerts.replaceChildren(...lines.map(([kind, text, to]) =>
    h("p", { class: `alert ${kind}` }, text, to ? [" ", h("a", { href: to[0] }, to[1])] : null)));
}

function teller(who) {
  return (error) => {
    if (error) {
      failures.set(who, error);
    } else {
      failures.delete(who);
      answered = Date.now() / 1000;
    }
    tellProblems();
  };
}

let leaving = new AbortController();
let shown = null;

function show() {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  const view = VIEWS.find(([own]) => own === name) ?? VIEWS[0];
  const hash = location.hash;
  // Not ours: the link to the content.
  if (hash === "#main" || hash === shown) return;
  leaving.abort();
  leaving = new AbortController();
  failures.delete("view");
  const isFirst = shown === null;
  shown = hash;
  for (const [own, element] of links) {
    if (own === view[0]) element.setAttribute("aria-current", "page");
    else element.removeAttribute("aria-current");
  }
  links.get(view[0]).scrollIntoView({ block: "nearest", inline: "nearest" });
  document.title = `${view[1]} – Penstock`;
  const elements = view[2]({
    place: Object.fromEntries(new URLSearchParams(query ?? "")),
    signal: leaving.signal,
    told: teller("view"),
    link,
    /// Writes into the address what the view shows now.
    go(place) {
      shown = link(view[0], place);
      history.replaceState(null, "", shown);
    },
  });
  main.replaceChildren(...elements.flat(Infinity).filter(Boolean));
  if (!isFirst) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function state(text, kind) {
  const badge = find("state");
  badge.className = `badge ${kind}`;
  if (badge.textContent !== text) badge.textContent = text;
}

repeat(3, new AbortController().signal, async (signal) => {
  const status = await ask("status", {}, signal);
  const pod = [status.namespace, status.pod].filter(Boolean).join("/");
  find("agent").textContent = `${pod}, ${status.version}, up ${lasting(status.uptime_seconds)}`;
  find("agent").title = `${status.source.name}, generation ${status.generation}`;
  state(status.ready ? "ready" : "not ready", status.ready ? "good" : "bad");
  const count = status.diagnostics.error + status.diagnostics.warning;
  const kind = status.diagnostics.error ? "bad" : "warn";
  links.get("diagnostics").replaceChildren("Diagnostics", ...(count ? [h("span", { class: `count ${kind}` }, String(count))] : []));
  problems = [];
  if (!status.ready) problems.push(["error", `Not ready: ${status.missing}.`]);
  for (const trouble of status.source.troubles) problems.push(["error", `The last state is served: ${trouble}.`]);
  for (const what of status.source.waiting) problems.push(["warning", `Waiting for ${what}.`]);
  if (status.l4?.error) problems.push(["error", `L4: ${status.l4.error}.`, [link("l4", {}), "Show"]]);
  tellProblems();
}, (error) => {
  if (error) state("no answer", "bad");
  teller("status")(error);
});

const pauses = find("pause");
pauses.addEventListener("click", () => {
  const is = pauses.getAttribute("aria-pressed") !== "true";
  pauses.setAttribute("aria-pressed", String(is));
  pauses.textContent = is ? "Paused" : "Pause";
  pause(is);
});

const themes = find("theme");
themes.value = document.documentElement.dataset.theme ?? "system";
themes.addEventListener("change", () => {
  const theme = themes.value;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", theme);
  } catch {
    // Storage may be denied: it lasts as long as the page then.
  }
});

find("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", show);
show();
