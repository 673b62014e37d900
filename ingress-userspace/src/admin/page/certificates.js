// What handshakes present, and how many days it lasts.

import { badge, h } from "./element.js";
import { list } from "./list.js";
import { object } from "./routes.js";

/// Days from which on somebody should look, and should act.
const SOON = 21;
const NOW = 7;

export function left(days) {
  if (days === null || days === undefined) return badge("unreadable", "bad");
  if (days < 0) return badge(`ended ${-days} d ago`, "bad");
  return badge(`${days} d`, days < NOW ? "bad" : days < SOON ? "warn" : "good");
}

export function certificates(view) {
  const own = list(view, {
    resource: "certificates",
    label: "Host, Secret, name or issuer",
    empty: "No certificate has these words.",
    seconds: 10,
    key: (item) => JSON.stringify([item.secret, item.sha256, item.default]),
    columns: [
      {
        title: "Secret",
        style: "text",
        told: (item) => [item.secret, item.default],
        cell: (item) => [
          item.secret ? object(item.secret) : "self-signed",
          item.default ? h("span", { class: "sub" }, "where no other applies") : null,
        ],
      },
      { title: "Left", told: (item) => item.days_left, cell: (item) => (item.self_signed ? badge("self-signed", "warn") : left(item.days_left)) },
      { title: "Ends", cell: (item) => item.not_after?.replace("T", " ") ?? "–" },
      {
        title: "Hosts",
        style: "text",
        told: (item) => [item.hosts, item.hosts_total],
        cell: (item) => {
          const shown = item.hosts.slice(0, 5).join(", ");
          const more = item.hosts_total - Math.min(5, item.hosts.length);
          return item.hosts_total === 0 ? "no host" : more > 0 ? `${shown} and ${more} more` : shown;
        },
      },
      { title: "Names", style: "text", cell: (item) => (item.names ?? []).join(", ") || "–" },
      {
        title: "Issuer",
        style: "text",
        told: (item) => [item.issuer, item.algorithm],
        cell: (item) => [item.issuer ?? "–", item.algorithm ? h("span", { class: "sub" }, item.algorithm) : null],
      },
    ],
  });
  return [h("div", { class: "head" }, h("h1", {}, "Certificates"), h("span", { class: "quiet" }, "the one that ends first comes first")), own.element];
}
