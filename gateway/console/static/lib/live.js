// Live data: one stream of server-sent events for everything that is on the screen, opened again when that changes.

import { session } from "./api.js";
import { onEnd, signal } from "./signal.js";

const SILENT_MS = 6000; // the overview comes every second, so this long without anything means that nobody is there
const SETTLE_MS = 40; // pages ask for several topics in a row: open once
const HIDDEN_MS = 20000; // a tab in the background this long lets go of the stream
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

/** "connecting", "live" or "lost". */
export const connection = signal("connecting");
/** When something came last, of this browser's clock in ms. */
export const heardAt = signal(Date.now());
/** This browser's clock, once a second, for ages. */
export const now = signal(Date.now());

const topics = new Map(); // topic -> {signal, users}
const pointWatches = new Set(); // {ids, take}
let source = null;
let opening = null; // the next stream, until it has said something
let openedFor = "";
let failures = 0;
let timers = {};
let ahead = 0; // the gateway's clock less this browser's, ms

/** The gateway's clock in ms: what times of samples and events are compared with. */
export const gatewayNow = () => now.value + ahead;

/** A signal with the latest payload of a topic; null until the first. For as long as the present scope. */
export function follow(topic) {
  let entry = topics.get(topic);
  if (!entry) topics.set(topic, (entry = { signal: signal(null), users: 0 }));
  entry.users += 1;
  reopenSoon();
  onEnd(() => {
    entry.users -= 1;
    if (!entry.users) topics.delete(topic);
    reopenSoon();
  });
  return entry.signal;
}

/** Call `take({id, value, text, time_ms, quality, reason})` for each change of these points; `ids()` may change. */
export function followPoints(take) {
  const watch = { ids: [], take };
  pointWatches.add(watch);
  onEnd(() => {
    pointWatches.delete(watch);
    reopenSoon();
  });
  return (ids) => {
    watch.ids = ids;
    reopenSoon();
  };
}

function wanted() {
  const points = [...new Set([...pointWatches].flatMap((watch) => watch.ids))].sort((a, b) => a - b);
  const named = [...topics].filter(([, entry]) => entry.users).map(([topic]) => topic);
  if (points.length) named.push("points");
  if (!named.length) return "";
  return `/api/live?topics=${named.sort().join(",")}${points.length ? `&points=${points.join(",")}` : ""}`;
}

function reopenSoon() {
  clearTimeout(timers.settle);
  timers.settle = setTimeout(reopen, SETTLE_MS);
}

function reopen() {
  const url = session.peek() ? wanted() : "";
  if (url === openedFor && (source || opening)) return;
  openedFor = url;
  opening?.close();
  opening = null;
  clearTimeout(timers.retry);
  if (url && !timers.asleep) open(url);
  else close();
}

/** The old stream stays until the new one speaks, so that values go on without a hole. */
function open(url) {
  const next = new EventSource(url);
  opening = next;
  for (const topic of [...topics.keys(), "points"])
    next.addEventListener(topic, (event) => heard(next, topic, event.data));
  next.onopen = () => takeOver(next);
  next.onerror = () => failed(next);
}

function takeOver(next) {
  if (opening === next) {
    source?.close();
    source = next;
    opening = null;
  }
  failures = 0;
}

function heard(from, topic, data) {
  takeOver(from);
  if (from !== source) return;
  heardAt.value = Date.now();
  connection.value = "live";
  const payload = JSON.parse(data);
  if (topic === "points") return spread(payload.rows);
  if (topic === "overview" && payload.clock) ahead = payload.clock.now_ms - Date.now();
  const entry = topics.get(topic);
  if (entry) entry.signal.value = payload;
}

function spread(rows) {
  for (const [id, value, text, time_ms, quality, reason] of rows) {
    for (const watch of pointWatches)
      if (watch.ids.includes(id)) watch.take({ id, value, text, time_ms, quality, reason });
  }
}

function failed(from) {
  if (from !== source && from !== opening) return;
  close();
  connection.value = "lost";
  retryLater();
}

function retryLater() {
  const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  clearTimeout(timers.retry);
  timers.retry = setTimeout(retry, wait * (0.75 + Math.random() / 2));
}

/** An EventSource does not say why it failed; the session does: 401 leads to the sign in, a new version to its pages. */
async function retry() {
  try {
    const answer = await fetch("/api/session", { headers: { accept: "application/json" } });
    if (answer.status === 401) {
      session.value = null;
      return;
    }
    const { version } = await answer.json();
    if (version && session.peek() && version !== session.peek().version) location.reload();
  } catch {
    retryLater();
    return;
  }
  openedFor = "";
  reopen();
}

/** Try at once, without waiting for the next turn. */
export function reconnectNow() {
  failures = 0;
  clearTimeout(timers.retry);
  retry();
}

function close() {
  source?.close();
  opening?.close();
  source = null;
  opening = null;
}

/** Begin again from nothing: after signing in or out. */
export function resetLive() {
  close();
  openedFor = "";
  failures = 0;
  connection.value = "connecting";
  heardAt.value = Date.now();
  reopenSoon();
}

setInterval(() => {
  now.value = Date.now();
  if (source && connection.peek() === "live" && Date.now() - heardAt.peek() > SILENT_MS && !timers.asleep)
    failed(source);
}, 1000);

addEventListener("pagehide", close);

document.addEventListener("visibilitychange", () => {
  clearTimeout(timers.sleep);
  if (document.visibilityState === "hidden") {
    timers.sleep = setTimeout(() => {
      timers.asleep = true;
      close();
      openedFor = "";
    }, HIDDEN_MS);
  } else if (timers.asleep) {
    timers.asleep = false;
    reopenSoon();
  }
});
