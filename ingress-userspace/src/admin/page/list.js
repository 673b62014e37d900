// A list that the agent filters and pages: what is looked for and which page is shown are in the
// address, so that they can be linked to and gone back to.

import { ask, repeat } from "./ask.js";
import { h } from "./element.js";
import { whole } from "./figures.js";
import { Table } from "./table.js";

const PER = 50;
const PATIENCE = 250;

/// `title`, `resource`, `label` of the search, `columns`, `key`, `empty`; `tools`: more elements beside
/// the search; `more`: more parameters of the question; `kept`: parameters of the address that stay.
export function list(view, own) {
  const { place, signal, go, told } = view;
  const search = h("input", {
    type: "search",
    value: place.q ?? "",
    placeholder: own.label,
    "aria-label": own.label,
    spellcheck: "false",
    autocomplete: "off",
  });
  const table = new Table(own);
  const before = h("button", { type: "button", onclick: () => turn(-1) }, "Previous");
  const after = h("button", { type: "button", onclick: () => turn(1) }, "Next");
  const where = h("span", { role: "status" });
  const pager = h("div", { class: "pager" }, before, after, where);
  let page = Math.max(1, Math.floor(Number(place.page)) || 1);
  let asking = null;

  async function look(outer) {
    asking?.abort();
    asking = new AbortController();
    const own_signal = AbortSignal.any([outer, asking.signal]);
    const answer = await ask(own.resource, { q: search.value.trim(), page, per: PER, ...own.more?.() }, own_signal);
    const first = (answer.page - 1) * answer.per;
    const pages = Math.max(1, Math.ceil(answer.total / answer.per));
    table.update(answer.items);
    own.seen?.(answer);
    before.disabled = page <= 1;
    after.disabled = page >= pages;
    where.textContent = answer.total === 0
      ? "0"
      : answer.items.length === 0
        ? `there are only ${whole(pages)} pages`
        : `${whole(first + 1)}–${whole(first + answer.items.length)} of ${whole(answer.total)}`;
  }
  const now = () => look(signal).then(() => told(null), (error) => {
    if (error.name !== "AbortError") told(error);
  });
  function moved() {
    go({ ...own.kept?.(), q: search.value.trim() || undefined, page: page > 1 ? page : undefined });
    now();
  }
  function turn(step) {
    page += step;
    moved();
    table.element.scrollIntoView({ block: "nearest" });
  }
  let timer = null;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      page = 1;
      moved();
    }, PATIENCE);
  });
  repeat(own.seconds ?? 3, signal, (outer) => look(outer).catch((error) => {
    // Another question was asked meanwhile.
    if (error.name !== "AbortError") throw error;
  }), told);
  return {
    element: h("section", { class: "sheet" },
      h("div", { class: "tools" }, search, own.tools ?? []), table.element, pager),
    again() {
      page = 1;
      moved();
    },
  };
}
