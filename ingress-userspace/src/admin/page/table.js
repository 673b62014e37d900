// A table whose rows stay the same elements while their values change, so that focus, selection and
// what is unfolded survive an update.

import { h } from "./element.js";

/// `columns`: `{ title, style, cell }`; `cell` makes a text or nodes of an item. `key` names an item.
export class Table {
  constructor({ caption, columns, key, empty }) {
    Object.assign(this, { columns, key, rows: new Map() });
    this.caption = h("caption", {}, caption ?? "");
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true }, empty);
    this.table = h("table", { class: "cards" },
      this.caption,
      h("thead", {}, h("tr", {}, columns.map((one) => h("th", { scope: "col", class: one.style }, one.title)))),
      this.body);
    this.element = h("div", { class: "rows" }, this.table, this.empty);
  }

  update(items) {
    const before = this.rows;
    this.rows = new Map();
    for (const item of items) {
      const key = this.key(item);
      let row = before.get(key);
      before.delete(key);
      if (!row || this.rows.has(key)) row = this.make();
      this.fill(row, item);
      this.rows.set(key, row);
    }
    for (const row of before.values()) row.element.remove();
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    let place = this.body.firstElementChild;
    for (const row of this.rows.values()) {
      // Moved only where the order has changed.
      if (row.element === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.element, place);
    }
    // What is moved loses the focus.
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    this.empty.hidden = items.length > 0;
    this.table.hidden = items.length === 0;
  }

  make() {
    const cells = this.columns.map((one, place) => {
      const inner = h("span");
      const style = [one.style, place === 0 && "first"].filter(Boolean).join(" ");
      return { inner, cell: h("td", { class: style || null, "data-label": one.title }, inner), told: undefined };
    });
    return { cells, element: h("tr", {}, cells.map((one) => one.cell)) };
  }

  fill(row, item) {
    row.cells.forEach((own, place) => {
      const column = this.columns[place];
      // What a cell is made of: the same again is not made again.
      const told = column.told ? JSON.stringify(column.told(item)) : null;
      if (told !== null && told === own.told) return;
      own.told = told;
      const value = column.cell(item);
      if (typeof value === "string") {
        if (own.inner.textContent !== value || own.inner.firstElementChild) own.inner.textContent = value;
      } else {
        own.inner.replaceChildren(...[value].flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
      }
      own.cell.classList.toggle("zero", value === "0" || value === "–");
    });
  }
}
