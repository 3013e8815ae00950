// How fast counters go up: per second, over the last few payloads.

const SPAN_MS = 5000;

/** Keeps counters by name: `see(counters)` with each payload, `of(name)` for the rate since about five seconds ago. */
export class Rates {
  constructor(span_ms = SPAN_MS) {
    this.span = span_ms;
    this.seen = [];
  }

  see(counters) {
    const at = performance.now();
    this.seen.push({ at, counters });
    while (this.seen.length > 2 && at - this.seen[1].at >= this.span) this.seen.shift();
  }

  /** Per second; null as long as there is nothing to compare with. */
  of(name) {
    const [first, last] = [this.seen[0], this.seen.at(-1)];
    const before = first?.counters[name];
    const now = last?.counters[name];
    if (before === undefined || now === undefined || last.at - first.at < 300) return null;
    const rate = ((now - before) * 1000) / (last.at - first.at);
    return rate < 0 && !name.startsWith("±") ? 0 : rate;
  }
}
