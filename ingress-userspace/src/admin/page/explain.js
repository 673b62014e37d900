// What would become of a request, and why: the agent thinks it through with the code that serves, and
// nothing is sent.

import { ask } from "./ask.js";
import { badge, h } from "./element.js";
import { object } from "./routes.js";
import { Table } from "./table.js";

const STATES = { ready: "good", refusing: "warn", avoided: "bad" };

/// How it ends, in a sentence.
function outcome(view, own) {
  switch (own.kind) {
    case "forward": {
      const name = object(own.service);
      return [
        badge("forwarded", "good"), ` as ${own.method} ${own.target} to `,
        h("a", { href: view.link("routes", { service: name }) }, `${name}:${own.service.port}`),
        own.canary ? ", which is the canary" : "",
        own.endpoints.length ? "" : " ", own.endpoints.length ? "" : badge("no endpoint: 503", "bad"),
      ];
    }
    case "answer": return [badge(`answered ${own.status}`, kind(own.status)), " by Penstock itself"];
    case "page": return [badge(`answered ${own.status}`, kind(own.status)), ` with the page ${own.target}`];
    case "closed": return [badge("closed", "bad"), " without an answer"];
    case "no-handshake": return [badge("no handshake", "bad"), ": the TLS connection is refused"];
    default: return [own.kind];
  }
}

function kind(status) {
  return status >= 500 ? "bad" : status >= 400 ? "warn" : "good";
}

function verdict(own) {
  const text = own.status ? `${own.verdict} ${own.status}` : own.verdict;
  return badge(text, own.status ? kind(own.status) : "");
}

function facts(view, answer) {
  const { request, route } = answer;
  const fact = (name, value) => (value === null || value === undefined ? [] : [h("dt", {}, name), h("dd", {}, value)]);
  return h("dl", {},
    fact("Request", `${request.method} ${request.url} from ${request.from}`),
    fact("Server name", request.sni),
    fact("Host", answer.host === "_" ? "none of the Ingresses': the catch-all" : answer.host),
    fact("Ingress", route && (route.ingress.kind === "Ingress"
      ? h("a", { href: view.link("traffic", { ingress: object(route.ingress) }) }, object(route.ingress))
      : `${route.ingress.kind} ${object(route.ingress)}`)),
    fact("Field", route?.field),
    fact("Path", route && `${route.path} (${route.kind})`));
}

function fields(title, list) {
  if (!list?.length) return null;
  return h("details", {}, h("summary", {}, title),
    h("dl", { class: "mono" }, list.map((own) => [h("dt", {}, own.name), h("dd", {}, own.value)])));
}

function shown(view, answer) {
  const own = answer.outcome;
  const stages = new Table({
    caption: "Stages that had something to say, in their order",
    empty: "No stage had anything to say.",
    key: (stage) => JSON.stringify(stage),
    columns: [
      { title: "Stage", style: "text", cell: (stage) => stage.stage },
      { title: "Verdict", cell: (stage) => [verdict(stage)] },
      { title: "What it says", style: "text", cell: (stage) => stage.detail ?? "" },
      {
        title: "Because of",
        style: "text",
        cell: (stage) => stage.causes.map((cause) =>
          h("span", { class: "sub" }, `${cause.object.kind} ${object(cause.object)} `, h("span", { class: "mono" }, cause.key))),
      },
    ],
  });
  stages.update(answer.stages);
  const endpoints = own.kind === "forward" && own.endpoints.length
    ? h("p", {}, "One of: ", own.endpoints.map((one) => [badge(`${one.address} ${one.state}`, STATES[one.state]), " "]),
      own.bound ? `bound to ${own.bound} by its session` : "")
    : null;
  const names = (title, list) => (list.length ? h("p", { class: "quiet" }, `${title}: ${list.join(", ")}`) : null);
  return [
    h("section", { class: "sheet" }, h("p", { class: "verdict", role: "status" }, outcome(view, own)), endpoints, facts(view, answer),
      fields("Fields that the endpoint gets", own.kind === "forward" ? own.fields : null),
      fields("Fields of the answer", own.kind === "answer" ? own.fields : null)),
    h("section", { class: "sheet" }, stages.element,
      names("Nothing asks for", answer.off), names("Not reached", answer.not_reached)),
  ];
}

export function explain(view) {
  const { place, go, signal, told } = view;
  const input = (id, label, attributes) => [
    h("label", { for: id }, label),
    h("input", { id, autocomplete: "off", spellcheck: "false", ...attributes }),
  ];
  const method = h("select", { id: "method" },
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map((name) => h("option", { selected: name === place.method }, name)));
  const headers = h("textarea", { id: "headers", rows: 3, spellcheck: "false", placeholder: "Cookie: a=b" });
  const form = h("form", { class: "ask sheet" },
    input("url", "URL", { type: "text", inputmode: "url", required: true, value: place.url ?? "", placeholder: "https://shop.example.com/cart" }),
    h("label", { for: "method" }, "Method"), method,
    h("label", { for: "headers" }, "Headers"), headers,
    input("from", "From address", { value: place.from ?? "", placeholder: "127.0.0.1" }),
    input("sni", "TLS name", { value: place.sni ?? "", placeholder: "the URL's; - for none" }),
    h("button", { type: "submit", class: "act" }, "Explain"));
  const result = h("div", { class: "results" });
  const value = (id) => form.querySelector(`#${id}`).value.trim();
  async function act() {
    // A URL as people type it.
    const url = /^https?:\/\//.test(value("url")) ? value("url") : `https://${value("url")}`;
    const asked = { url, method: method.value, from: value("from"), sni: value("sni") };
    const header = headers.value.split("\n").map((line) => line.trim()).filter(Boolean);
    // Headers may be secret: they are not in the address.
    go({ url, method: asked.method === "GET" ? undefined : asked.method, from: asked.from || undefined, sni: asked.sni || undefined });
    try {
      const answer = await ask("explain", { ...asked, header }, signal);
      result.replaceChildren(...shown(view, answer));
    } catch (error) {
      if (error.name === "TypeError") told(error);
      else if (error.name !== "AbortError") result.replaceChildren(h("p", { class: "alert error", role: "alert" }, error.message));
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
  if (place.url) act();
  return [
    h("div", { class: "head" },
      h("h1", {}, "Explain a request"),
      h("span", { class: "quiet" }, "What would become of it, and why. Nothing is sent.")),
    form, result,
  ];
}
