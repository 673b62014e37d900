// Numbers as people read them.

const DIGITS = 3;

/// A number with three digits and k, M or G: 1234 is `1.23k`.
export function short(number) {
  if (number === null || number === undefined) return "–";
  if (number === 0) return "0";
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(number) >= size * 0.9995) return `${digits(number / size)}${unit}`;
  }
  if (Math.abs(number) < 0.005) return "<0.01";
  return Math.abs(number) < 1 ? number.toFixed(2) : digits(number);
}

function digits(number) {
  const before = Math.floor(Math.log10(Math.abs(number))) + 1;
  return number.toFixed(Math.max(0, Math.min(2, DIGITS - before))).replace(/\.0+$/, "");
}

/// A whole number with all its digits, in groups.
export function whole(number) {
  return number === null || number === undefined ? "–" : Math.round(number).toLocaleString("en-GB");
}

/// Bytes, in decimal units.
export function bytes(number) {
  if (number === null || number === undefined) return "–";
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (number >= size * 0.9995) return `${digits(number / size)} ${unit}`;
  }
  return `${Math.round(number)} B`;
}

/// Seconds as a duration: `2.5 ms`, `1.2 s`.
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0";
  if (seconds >= 0.9995) return `${digits(seconds)} s`;
  return seconds >= 0.001 ? `${digits(seconds * 1000)} ms` : `${Math.max(1, Math.round(seconds * 1e6))} µs`;
}

/// A part of a whole: `0.52 %`.
export function share(part, all) {
  if (!all) return "–";
  const percent = (part / all) * 100;
  if (percent === 0) return "0 %";
  return percent < 0.01 ? "<0.01 %" : `${percent < 10 ? percent.toFixed(2) : percent.toFixed(1)} %`;
}

/// How long something lasts, in its two largest units: `3 d 4 h`.
export function lasting(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  let rest = seconds;
  const parts = units.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count ? `${count} ${unit}` : "";
  });
  return parts.filter(Boolean).join(" ");
}

/// The time of day of a moment in seconds since 1970.
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
