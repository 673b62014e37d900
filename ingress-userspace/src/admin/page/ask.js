// Questions to the agent, again and again while somebody looks.

const PATIENCE = 10_000;

/// Asks `/api/v1/…`. Parameters that are null or empty are left out; a list is given once for each.
/// Throws an error that says why there is no answer.
export async function ask(resource, parameters, signal) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const late = AbortSignal.timeout(PATIENCE);
  const text = query.toString();
  const answer = await fetch(`/api/v1/${resource}${text ? `?${text}` : ""}`, {
    signal: signal ? AbortSignal.any([signal, late]) : late,
    headers: { accept: "application/json" },
  });
  let value;
  try {
    value = await answer.json();
  } catch {
    throw new Error(`the agent answered ${answer.status} with something else than JSON`);
  }
  if (!answer.ok) throw new Error(value.error ?? `the agent answered ${answer.status}`);
  return value;
}

let isPaused = false;
const waiting = new Set();

/// Stops asking, or goes on at once.
export function pause(value) {
  isPaused = value;
  wake();
}

function wake() {
  if (isPaused || document.hidden) return;
  for (const resume of [...waiting]) resume();
}
document.addEventListener("visibilitychange", wake);

function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

function turn(signal) {
  if (!isPaused && !document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const resume = () => {
      waiting.delete(resume);
      resolve();
    };
    waiting.add(resume);
    signal.addEventListener("abort", resume, { once: true });
  });
}

/// Calls `act` now and then every so many seconds until the signal says that nobody looks any more. One
/// at a time; `told` learns of each failure, and of success with null.
export async function repeat(seconds, signal, act, told) {
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    // What is asked for first is shown also while paused.
    if (!isFirst) await turn(signal);
    if (signal.aborted) return;
    try {
      await act(signal);
      if (!signal.aborted) told(null);
    } catch (error) {
      if (signal.aborted) return;
      told(error.name === "TimeoutError" ? new Error("no answer within 10 seconds") : error);
    }
    await sleep(seconds * 1000, signal);
  }
}
