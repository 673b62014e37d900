// Who serves a host and a path: the Ingress, the Service, and its endpoints.

import { ask, repeat } from "./ask.js";
import { badge, h } from "./element.js";
import { duration, whole } from "./figures.js";
import { list } from "./list.js";
import { Table } from "./table.js";

/// Of an endpoint, as the worst of the workers sees it.
const STATES = { ready: "good", refusing: "warn", avoided: "bad" };

export const object = (own) => (own.namespace ? `${own.namespace}/${own.name}` : own.name);

/// What a target is, in words.
function target(own) {
  switch (own.kind) {
    case "service": return `${object(own.service)}:${own.service.port}`;
    case "denied": return `denied by ${own.key}`;
    case "redirect": return `${own.status} to ${own.location}`;
    case "host": return `redirected to ${own.host}`;
    default: return "404";
  }
}

function endpoints(view, own) {
  if (own.kind !== "service") {
    return [badge(own.kind, own.kind === "denied" ? "bad" : "")];
  }
  const count = own.endpoints;
  const text = count === 0 ? "none: 503" : String(count);
  return [h("a", { href: view.link("routes", { service: object(own.service) }) }, badge(text, count ? "good" : "bad"))];
}

export function routes(view) {
  return view.place.service ? service(view, view.place.service) : all(view);
}

function all(view) {
  const own = list(view, {
    resource: "routes",
    label: "Host, path, Ingress or Service",
    empty: "No route has these words.",
    key: (item) => JSON.stringify([item.host, item.kind, item.path, item.ingress, item.field]),
    columns: [
      {
        title: "Host and path",
        style: "text",
        told: (item) => [item.host, item.path, item.kind, item.tls, item.regex],
        cell: (item) => [
          h("span", { class: "mono" }, item.host === "_" ? "any other host" : item.host, item.path),
          h("span", { class: "sub" }, [item.regex ? "regex" : item.kind, item.tls ? "TLS" : null].filter(Boolean).join(", ")),
        ],
      },
      {
        title: "Ingress",
        style: "text",
        told: (item) => [item.ingress, item.field],
        cell: (item) => [
          item.ingress.kind === "Ingress"
            ? h("a", { href: view.link("traffic", { ingress: object(item.ingress) }) }, object(item.ingress))
            : `${item.ingress.kind} ${object(item.ingress)}`,
          h("span", { class: "sub" }, item.field),
        ],
      },
      {
        title: "Leads to",
        style: "text",
        told: (item) => [item.target, item.rewrite],
        cell: (item) => [
          target(item.target),
          item.rewrite ? h("span", { class: "sub" }, `path rewritten to ${item.rewrite}`) : null,
          item.target.canary ? h("span", { class: "sub" }, `canary ${object(item.target.canary.ingress)}`) : null,
        ],
      },
      { title: "Endpoints", told: (item) => item.target, cell: (item) => endpoints(view, item.target) },
      {
        title: "On the way",
        told: (item) => [item.policies, item.https_redirect, item.tls],
        cell: (item) => {
          const redirects = item.https_redirect === "always" || (item.https_redirect === "if-tls" && item.tls);
          return [...(redirects ? ["redirect to HTTPS"] : []), ...item.policies].join(", ");
        },
      },
    ],
  });
  return [h("div", { class: "head" }, h("h1", {}, "Routes")), own.element];
}

/// The endpoints of a Service.
function service(view, name) {
  const tables = h("div");
  const known = new Map();
  repeat(2, view.signal, async (signal) => {
    const answer = await ask("endpoints", { service: name, per: 50 }, signal);
    for (const item of answer.items) {
      const key = item.service.port;
      let own = known.get(key);
      if (!own) {
        own = new Table({
          caption: "",
          empty: "No endpoint is ready: requests are answered 503.",
          key: (endpoint) => endpoint.address,
          columns: [
            { title: "Address", style: "text", cell: (endpoint) => endpoint.address },
            { title: "Pod", style: "text", cell: (endpoint) => endpoint.pod ?? "–" },
            ...HEALTH,
          ],
        });
        known.set(key, own);
        tables.append(h("section", { class: "sheet" }, own.element));
      }
      own.caption.textContent = `Port ${key}: ${item.policy}${item.affinity ? `, sticky by the cookie ${item.affinity}` : ""}`;
      own.update(item.endpoints);
    }
    if (!answer.total) tables.replaceChildren(h("p", { class: "empty" }, "No route leads to this Service."));
  }, view.told);
  return [
    h("div", { class: "head" },
      h("h1", {}, `Service ${name}`),
      h("a", { href: view.link("routes", { q: name.split("/").join(" ") }) }, "Its routes")),
    tables,
  ];
}

/// What is known of how an endpoint is.
const HEALTH = [
  {
    title: "State",
    told: (endpoint) => endpoint.state,
    cell: (endpoint) => [badge(endpoint.state === "unknown" ? "not asked yet" : endpoint.state, STATES[endpoint.state])],
  },
  { title: "Latency", style: "number", cell: (endpoint) => duration(endpoint.latency_seconds) },
  { title: "Refusals", style: "number", cell: (endpoint) => whole(endpoint.refusals) },
  { title: "Weight", style: "number", cell: (endpoint) => whole(endpoint.weight) },
];
