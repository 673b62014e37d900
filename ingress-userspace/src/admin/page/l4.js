// The kernel tier: which nodes take which share of the connections, and what became of packets.

import { ask, repeat } from "./ask.js";
import { badge, h } from "./element.js";
import { bytes, share, short, whole } from "./figures.js";
import { Table } from "./table.js";

const KINDS = { ready: "good", draining: "warn", suspect: "warn", dead: "bad" };
/// Events that are shown.
const EVENTS = 50;

export function l4(view) {
  const facts = h("dl");
  const troubles = h("div");
  const off = h("p", { class: "empty", hidden: true },
    "The kernel tier is off on this node (--l4=off, or no --interface): the node keeps all connections to itself.");
  const rates = new Rates();
  const nodes = new Table({
    caption: "Nodes: the share of new connections that comes to each, and what this node sent to it",
    empty: "No node is known: this node keeps all connections to itself.",
    key: (item) => item.name,
    columns: [
      { title: "Node", style: "text", told: (item) => [item.name, item.address], cell: (item) => [item.name, h("span", { class: "sub mono" }, item.address)] },
      {
        title: "State",
        told: (item) => [item.state, item.reachable, item.full_size],
        cell: (item) => [
          badge(item.state, KINDS[item.state]),
          item.reachable ? null : badge("next hop unknown", "bad"),
          item.full_size === false ? badge("large packets do not pass", "bad") : null,
        ],
      },
      {
        title: "Share",
        told: (item) => item.share,
        cell: (item) => {
          const bar = h("i");
          bar.style.width = `${item.share * 100}%`;
          return [h("span", { class: "bar-cell" }, bar), ` ${share(item.share, 1)}`];
        },
      },
      { title: "Weight", style: "number", cell: (item) => whole(item.weight) },
      { title: "Rows", style: "number", cell: (item) => whole(item.rows) },
      { title: "Sent first/s", style: "number", cell: (item) => rates.of(`n${item.id}f`, item.first) },
      { title: "Sent on/s", style: "number", cell: (item) => rates.of(`n${item.id}n`, item.next + item.relayed) },
      { title: "Bytes", style: "number", cell: (item) => bytes(item.bytes) },
    ],
  });
  const services = new Table({
    caption: "Virtual services: packets by what became of them",
    empty: "No virtual address.",
    key: (item) => item.name,
    columns: [
      {
        title: "Service",
        style: "text",
        told: (item) => item.name,
        cell: (item) => [h("span", { class: "mono" }, item.name === "none" ? "no virtual address" : item.name)],
      },
      { title: "Kept/s", style: "number", cell: (item) => rates.of(`s${item.name}p`, item.pass) },
      { title: "Forwarded/s", style: "number", cell: (item) => rates.of(`s${item.name}f`, item.forward) },
      { title: "Dropped/s", style: "number", cell: (item) => rates.of(`s${item.name}d`, item.drop) },
      { title: "Dropped", style: "number", cell: (item) => whole(item.drop) },
      {
        title: "Reasons",
        style: "text",
        cell: (item) => item.reasons.map((one) => `${one.verdict} ${one.reason}: ${whole(one.packets)}`).join("; ") || "–",
      },
    ],
  });
  const events = new Table({
    caption: "The last samples of flows and drops",
    empty: "No samples.",
    key: (item) => JSON.stringify(item),
    columns: [{ title: "Event", style: "text mono", cell: (item) => Object.entries(item).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(" ") }],
  });
  const sheets = [nodes, services, events].map((table) => h("section", { class: "sheet" }, table.element));
  const summary = h("section", { class: "sheet" }, facts);
  repeat(2, view.signal, async (signal) => {
    const answer = await ask("l4", {}, signal);
    off.hidden = answer.on;
    for (const sheet of [summary, ...sheets]) sheet.hidden = !answer.on;
    if (!answer.on) return;
    rates.begin();
    troubles.replaceChildren(...answer.errors.map((error) => h("p", { class: "alert error" }, error)));
    const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
    facts.replaceChildren(
      ...fact("Interfaces", answer.interfaces.map((one) => `${one.name} (${one.mode})`).join(", ") || "none"),
      ...fact("Draining", answer.nodes.filter((one) => one.state === "draining").map((one) => one.name).join(", ") || "no node"),
      ...fact("Table", answer.generations.map((one) => `group ${one.group}: generation ${one.generation}`).join(", ") || "–"),
    );
    nodes.update(answer.nodes);
    services.update(answer.services);
    events.update(answer.events.slice(-EVENTS).reverse());
  }, view.told);
  return [h("div", { class: "head" }, h("h1", {}, "L4: packets and nodes")), off, troubles, summary, sheets];
}

/// Rates out of counters that are looked at again and again.
class Rates {
  constructor() {
    this.before = new Map();
    this.now = new Map();
    this.time = 0;
    this.lasted = 0;
  }

  begin() {
    const time = performance.now() / 1000;
    this.lasted = this.time ? time - this.time : 0;
    this.time = time;
    this.before = this.now;
    this.now = new Map();
  }

  of(name, value) {
    this.now.set(name, value);
    const before = this.before.get(name);
    return before === undefined || !this.lasted ? "–" : short(Math.max(0, value - before) / this.lasted);
  }
}
