// Elements by hand: text is only ever set as text, so nothing that is shown can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/// An element of HTML: `h("p", { class: "quiet", onclick: act }, "text", other)`.
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/// Likewise of SVG.
export function s(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/// A badge with one of the kinds `good`, `warn`, `bad`, or none.
export function badge(text, kind) {
  return h("span", { class: kind ? `badge ${kind}` : "badge" }, text);
}

/// A row of buttons of which one is pressed. `options`: pairs of value and text.
export function choice(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) =>
    h("button", {
      type: "button",
      "aria-pressed": String(value === chosen),
      onclick: () => {
        buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(options[place][0] === value)));
        choose(value);
      },
    }, text));
  return h("span", { class: "choice", role: "group", "aria-label": label }, buttons);
}
