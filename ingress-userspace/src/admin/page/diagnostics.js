// What is not served as it is written.

import { badge, choice, h } from "./element.js";
import { list } from "./list.js";
import { object } from "./routes.js";

export function diagnostics(view) {
  let severity = ["error", "warning"].includes(view.place.severity) ? view.place.severity : "";
  const own = list(view, {
    resource: "diagnostics",
    label: "Object, field or message",
    empty: "Nothing: everything is served as it is written.",
    key: (item) => JSON.stringify(item),
    more: () => ({ severity }),
    kept: () => ({ severity: severity || undefined }),
    tools: [choice("Only", [["", "All"], ["error", "Errors"], ["warning", "Warnings"]], severity, (value) => {
      severity = value;
      own.again();
    })],
    columns: [
      {
        title: "Object",
        style: "text",
        told: (item) => [item.object, item.field],
        cell: (item) => [`${item.object.kind} ${object(item.object)}`, h("span", { class: "sub mono" }, item.field)],
      },
      { title: "Severity", told: (item) => item.severity, cell: (item) => [badge(item.severity, item.severity === "error" ? "bad" : "warn")] },
      { title: "What is wrong", style: "text", cell: (item) => item.message },
    ],
  });
  return [h("div", { class: "head" }, h("h1", {}, "Diagnostics")), own.element];
}
