// What happens now: requests, errors and latencies of the last ten minutes, of all or of one host or
// Ingress, and who they belong to.

import { ask, repeat } from "./ask.js";
import { Chart, spark } from "./chart.js";
import { choice, h } from "./element.js";
import { bytes, duration, share, short } from "./figures.js";
import { Table } from "./table.js";

const KEPT = 600;
/// What "now" is, in seconds.
const NOW = 5;
/// From which share of 5xx on a number is red.
const MANY_ERRORS = 0.01;

function tile(label) {
  const value = h("span", { class: "value" }, "–");
  const element = h("div", { class: "tile" }, value, h("span", { class: "label" }, label));
  return {
    element,
    set(text, kind) {
      value.textContent = text;
      element.className = kind ? `tile ${kind}` : "tile";
    },
  };
}

export function traffic(view) {
  const { place, signal, go, told, link } = view;
  let span = KEPT;
  let by = place.by === "host" ? "host" : "ingress";
  let sort = place.sort ?? "requests";
  let rows = [];
  let last = 0;
  let isCounted = true;
  let bounds = [];

  const tiles = {
    requests: tile("requests a second"),
    errors: tile("answered 5xx"),
    refused: tile("answered 4xx"),
    latency: tile("p99 latency"),
    progress: tile("in progress"),
    connections: tile("connections"),
  };
  const latency = (seconds) => {
    const most = bounds.at(-1);
    return most && seconds >= most ? `≥ ${duration(most)}` : duration(seconds);
  };
  const requests = new Chart({
    title: "Requests a second",
    isStacked: true,
    format: short,
    series: [
      { name: "5xx", style: "s5", of: (row) => row["5xx"] },
      { name: "4xx", style: "s4", of: (row) => row["4xx"] },
      { name: "3xx", style: "s3", of: (row) => row["3xx"] },
      { name: "2xx", style: "s2", of: (row) => row["2xx"] },
      { name: "other", style: "s0", of: (row) => row.other },
    ],
  });
  const errors = new Chart({
    title: "Errors, share of requests",
    format: (value) => (value === null || value === undefined ? "–" : `${short(value)} %`),
    least: 1,
    series: [
      { name: "5xx", style: "s5", of: (row) => (row.requests > 0 ? (row["5xx"] / row.requests) * 100 : null) },
      { name: "4xx", style: "s4", of: (row) => (row.requests > 0 ? (row["4xx"] / row.requests) * 100 : null) },
    ],
  });
  const latencies = new Chart({
    title: "Latency",
    format: latency,
    least: 0.001,
    series: [
      { name: "p50", style: "p50", of: (row) => row.p50 },
      { name: "p90", style: "p90", of: (row) => row.p90 },
      { name: "p99", style: "p99", of: (row) => row.p99 },
    ],
  });
  const sizes = new Chart({
    title: "Bytes a second",
    format: bytes,
    least: 1000,
    series: [
      { name: "sent", style: "p50", of: (row) => row.sent },
      { name: "received", style: "p90", of: (row) => row.received },
    ],
  });
  const charts = [requests, errors, latencies, sizes];
  const subject = place.ingress ?? place.host;
  const parameters = { ingress: place.ingress, host: place.ingress ? undefined : place.host };

  repeat(1, signal, async (own) => {
    const answer = await ask("history", { ...parameters, after: last || undefined }, own);
    // The agent has begun again.
    if (answer.last < last) {
      last = 0;
      rows = [];
      return;
    }
    ({ bounds, counted: isCounted } = answer);
    const fresh = answer.rows.map((row) => Object.fromEntries(answer.columns.map((name, at) => [name, row[at]])));
    last = answer.last;
    rows = [...rows, ...fresh].slice(-answer.kept);
    show();
  }, told);

  function show() {
    for (const chart of charts) chart.update(rows, span);
    const now = rows.slice(-NOW);
    const time = now.reduce((sum, row) => sum + row.lasted, 0);
    const mean = (name) => now.reduce((sum, row) => sum + row[name] * row.lasted, 0) / (time || 1);
    const all = mean("requests");
    const failed = mean("5xx");
    tiles.requests.set(now.length ? short(all) : "–");
    tiles.errors.set(all > 0 ? share(failed, all) : "–", failed / all >= MANY_ERRORS ? "bad" : "");
    tiles.refused.set(all > 0 ? share(mean("4xx"), all) : "–");
    const slow = now.map((row) => row.p99).filter((value) => value !== null);
    tiles.latency.set(slow.length ? latency(Math.max(...slow)) : "–");
    tiles.progress.set(now.length ? short(now.at(-1).in_progress) : "–");
    tiles.connections.set(now.length ? short(now.at(-1).connections) : "–");
    hint.hidden = isCounted;
  }

  const hint = h("p", { class: "alert warning", hidden: true },
    "Requests are not told apart by Ingress: the agent runs with --enable-metrics=false.");
  const name = (item) => item.name.host ?? `${item.name.namespace}/${item.name.ingress}`;
  const table = new Table({
    caption: "",
    empty: "No requests in this time.",
    key: name,
    columns: [
      {
        title: "Of",
        style: "text",
        told: name,
        cell: (item) => [h("a", {
          href: link("traffic", item.name.host ? { host: item.name.host } : { ingress: name(item) }),
        }, name(item))],
      },
      { title: "Requests/s", style: "number", cell: (item) => short(item.requests) },
      { title: "5xx/s", style: "number", cell: (item) => short(item["5xx"]) },
      { title: "5xx", style: "number", cell: (item) => share(item["5xx"], item.requests) },
      { title: "4xx/s", style: "number", cell: (item) => short(item["4xx"]) },
      { title: "p50", style: "number", cell: (item) => latency(item.p50) },
      { title: "p99", style: "number", cell: (item) => latency(item.p99) },
      { title: "Trend", told: (item) => item.line, cell: (item) => [spark(item.line)] },
    ],
  });
  const search = h("input", { type: "search", placeholder: "Ingress or host", "aria-label": "Only these Ingresses or hosts", value: place.q ?? "" });
  const count = h("span", { class: "quiet", role: "status" });
  const sorts = h("select", {}, [["requests", "most requests"], ["errors", "most 5xx"], ["latency", "slowest"], ["name", "name"]]
    .map(([value, text]) => h("option", { value, selected: value === sort }, text)));
  let asking = null;
  async function who(outer) {
    asking?.abort();
    asking = new AbortController();
    const answer = await ask("history", { by, sort, window: Math.min(span, KEPT), per: 20, q: search.value.trim() },
      AbortSignal.any([outer, asking.signal]));
    table.update(answer.items);
    count.textContent = answer.counted
      ? `${answer.items.length} of ${answer.total}, the last ${Math.round(answer.window)} s`
      : "not told apart by host (--metrics-per-host=false)";
  }
  const again = () => who(signal).then(() => told(null), (error) => {
    if (error.name !== "AbortError") told(error);
  });
  function moved() {
    go({ by: by === "host" ? by : undefined, sort: sort === "requests" ? undefined : sort, q: search.value.trim() || undefined });
    again();
  }
  sorts.addEventListener("change", () => {
    sort = sorts.value;
    moved();
  });
  search.addEventListener("input", moved);
  if (!subject) {
    repeat(2, signal, (own) => who(own).catch((error) => {
      if (error.name !== "AbortError") throw error;
    }), told);
  }

  const spans = choice("Time shown", [[60, "1 min"], [300, "5 min"], [600, "10 min"]], span, (value) => {
    span = value;
    show();
    if (!subject) again();
  });
  return [
    h("div", { class: "head" },
      h("h1", {}, subject ? `Traffic of ${subject}` : "Traffic"),
      spans,
      subject ? h("a", { href: link("traffic", {}) }, "All traffic") : null,
      subject ? h("a", { href: link("routes", { q: subject.split("/").join(" ") }) }, "Its routes") : null),
    hint,
    h("div", { class: "tiles" },
      tiles.requests.element, tiles.errors.element, tiles.refused.element, tiles.latency.element,
      // These two are of all.
      subject ? null : [tiles.progress.element, tiles.connections.element]),
    h("div", { class: "charts" }, charts.map((chart) => chart.element)),
    subject ? null : h("section", { class: "sheet" },
      h("div", { class: "tools" },
        h("h2", {}, "Who"),
        choice("Told apart by", [["ingress", "Ingress"], ["host", "Host"]], by, (value) => {
          by = value;
          moved();
        }),
        h("label", {}, "Sort ", sorts), search, count),
      table.element),
  ];
}
