// A chart over time, as SVG. It can be read with the pointer, with the arrow keys, and as text.

import { h, s } from "./element.js";
import { clock } from "./figures.js";

const HEIGHT = 180;
const LEFT = 52;
const BOTTOM = 18;
const TOP = 8;

/// The next of 1, 2, 2.5, 5 times a power of ten.
function nice(number) {
  if (!(number > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  const factor = [1, 2, 2.5, 5, 10].find((one) => one * power >= number * 0.9999) ?? 10;
  return factor * power;
}

/// `series`: `{ name, style, of }`, where `of` takes a value out of a row, or null. `isStacked`: one upon
/// the other. `format` writes a value. `least`: what the axis shows at the least.
export class Chart {
  constructor({ title, series, isStacked, format, least }) {
    Object.assign(this, { title, series, isStacked, format, least: least ?? 0 });
    this.rows = [];
    this.span = 600;
    this.width = 600;
    this.at = null;
    this.plot = s("g");
    this.svg = s("svg", { role: "img", tabindex: 0, "aria-label": title }, this.plot);
    this.values = series.map(() => h("strong"));
    this.time = h("li", { class: "quiet" });
    const keys = series.map((one, place) =>
      h("li", {}, h("span", { class: `key ${one.style}` }), `${one.name} `, this.values[place]));
    this.legend = h("ul", { class: "legend" }, this.time, keys);
    this.element = h("section", { class: "chart sheet" }, h("h2", {}, title), this.svg, this.legend);
    this.svg.addEventListener("pointermove", (event) => this.point(event.clientX));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.svg.addEventListener("blur", () => this.look(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(([entry]) => {
      this.width = Math.max(200, entry.contentRect.width);
      this.draw();
    }).observe(this.svg);
  }

  /// Rows have `at`, in seconds since 1970; `span` is how many seconds are shown.
  update(rows, span) {
    const known = this.at === null ? null : this.rows[this.at]?.at;
    this.span = span;
    const last = rows.at(-1)?.at ?? 0;
    this.rows = rows.filter((row) => row.at > last - span);
    this.at = known === null ? null : this.rows.findIndex((row) => row.at === known);
    if (this.at === -1 || this.at === undefined) this.at = null;
    this.draw();
  }

  point(x) {
    if (!this.rows.length) return;
    const place = x - this.svg.getBoundingClientRect().left;
    let best = 0;
    this.rows.forEach((row, index) => {
      if (Math.abs(this.x(row.at) - place) < Math.abs(this.x(this.rows[best].at) - place)) best = index;
    });
    this.look(best);
  }

  key(event) {
    const last = this.rows.length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 }[event.key];
    if (event.key === "Escape") this.look(null);
    else if (event.key === "Home") this.look(0);
    else if (event.key === "End") this.look(last);
    else if (step && last >= 0) this.look(Math.max(0, Math.min(last, (this.at ?? last) + step)));
    else return;
    event.preventDefault();
    this.legend.setAttribute("aria-live", "polite");
  }

  look(at) {
    if (at === null) this.legend.removeAttribute("aria-live");
    this.at = at;
    this.draw();
  }

  x(at) {
    const last = this.rows.at(-1)?.at ?? 0;
    return LEFT + (1 - (last - at) / this.span) * (this.width - LEFT - 6);
  }

  draw() {
    const { rows, width } = this;
    const bottom = HEIGHT - BOTTOM;
    const height = bottom - TOP;
    // By row: the upper edges of the series, one above the other where they are stacked.
    const tops = rows.map((row) => {
      let below = 0;
      return this.series.map((one) => {
        const value = one.of(row);
        if (!this.isStacked) return value;
        below += value ?? 0;
        return below;
      });
    });
    const most = Math.max(this.least, ...tops.flat().filter((value) => value !== null && value !== undefined));
    const top = nice(most);
    const y = (value) => bottom - (value / top) * height;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [];
    for (const part of [0, 0.5, 1]) {
      const at = y(top * part);
      parts.push(s("line", { class: "grid", x1: LEFT, x2: width - 6, y1: at, y2: at }));
      parts.push(s("text", { class: "axis", x: LEFT - 6, y: at + 4, "text-anchor": "end" }, this.format(top * part)));
    }
    for (const [part, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
      const ago = this.span * (1 - part);
      const text = ago === 0 ? "now" : `−${ago >= 120 ? `${ago / 60} min` : `${ago} s`}`;
      const at = LEFT + part * (width - LEFT - 6);
      parts.push(s("text", { class: "axis", x: at, y: HEIGHT - 4, "text-anchor": anchor }, text));
    }
    this.series.forEach((one, place) => {
      if (this.isStacked) {
        const over = rows.map((row, index) => `${this.x(row.at).toFixed(1)},${y(tops[index][place]).toFixed(1)}`);
        const under = rows.map((row, index) =>
          `${this.x(row.at).toFixed(1)},${y(place ? tops[index][place - 1] : 0).toFixed(1)}`).reverse();
        if (rows.length > 1) parts.push(s("polygon", { class: `area ${one.style}`, points: [...over, ...under].join(" ") }));
        return;
      }
      let path = "";
      let isOpen = false;
      rows.forEach((row, index) => {
        const value = tops[index][place];
        if (value === null || value === undefined) {
          isOpen = false;
          return;
        }
        // A point of its own is drawn as a short line.
        path += `${isOpen ? "L" : "M"}${this.x(row.at).toFixed(1)} ${y(value).toFixed(1)}${isOpen ? "" : "h.1"}`;
        isOpen = true;
      });
      parts.push(s("path", { class: `trace ${one.style}`, d: path }));
    });
    const shown = rows[this.at ?? rows.length - 1];
    if (this.at !== null && shown) {
      const at = this.x(shown.at);
      parts.push(s("line", { class: "cross", x1: at, x2: at, y1: TOP, y2: bottom }));
    }
    this.plot.replaceChildren(...parts);
    this.time.textContent = shown ? (this.at === null ? "now" : clock(shown.at)) : "no data yet";
    this.series.forEach((one, place) => {
      this.values[place].textContent = shown ? this.format(one.of(shown)) : "";
    });
    const now = shown ? this.series.map((one) => `${one.name} ${this.format(one.of(shown))}`).join(", ") : "no data yet";
    this.svg.setAttribute("aria-label",
      `${this.title}, the last ${this.span / 60} minutes: ${now}; at most ${this.format(most)}. Arrow keys read values.`);
  }
}

/// A small line without axes.
export function spark(values) {
  const most = Math.max(...values, 1e-9);
  const step = values.length > 1 ? 108 / (values.length - 1) : 0;
  const points = values.map((value, place) =>
    `${(1 + place * step).toFixed(1)},${(20 - (value / most) * 18).toFixed(1)}`);
  return s("svg", { class: "spark", viewBox: "0 0 110 22", "aria-hidden": "true" },
    s("polyline", { points: points.join(" ") }));
}
