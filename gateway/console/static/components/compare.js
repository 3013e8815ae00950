// The original of a point beside what left a pipeline: pure calculation on lists of [time in s, value].

/** What a receiver makes of kept samples at a time: the last one before it, or on the line between two of them. */
export function rebuilt(kept, time, linear) {
  let low = 0;
  let high = kept.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (kept[middle][0] <= time) low = middle + 1;
    else high = middle;
  }
  const before = kept[low - 1];
  if (!before) return null;
  if (!linear || before[0] === time || before[1] === null) return before[1];
  const after = kept[low];
  if (!after || after[1] === null) return null; // nobody knows yet
  return before[1] + ((after[1] - before[1]) * (time - before[0])) / (after[0] - before[0]);
}

/** How far a value may lie off, by bounds that follow each other; null without any. `limits` are the point's. */
export function allowed(bounds, value, limits) {
  if (!bounds.length) return null;
  return bounds.reduce((sum, bound) => sum + allowedByOne(bound, value, limits), 0);
}

function allowedByOne({ absolute, percent, ofValue }, value, limits) {
  if (percent === undefined || percent === null) return absolute;
  const base = limits && !ofValue ? limits[1] - limits[0] : Math.abs(value);
  return (base * percent) / 100;
}

/** {deviation, allowed}: the largest deviation of the original from what is rebuilt, and what was allowed there. */
export function largest(original, kept, { linear, bounds, limits }) {
  let found = null;
  for (const [time, value] of original) {
    const there = value === null ? null : rebuilt(kept, time, linear);
    if (there === null) continue;
    const deviation = Math.abs(value - there);
    if (!found || deviation > found.deviation) found = { deviation, allowed: allowed(bounds, there, limits) };
  }
  return found;
}

/**
 * Columns for a chart: [times, original, kept, upper, lower]. Where one list has nothing at a time of another, the place
 * stays undefined, which draws through; null is a gap. `spread`: lists of a lower and an upper end, instead of a bound.
 */
export function columns(original, kept, { linear, bounds, limits, spread }) {
  const times = [...new Set([original, kept, ...(spread ?? [])].flatMap((one) => one.map(([time]) => time)))].sort((a, b) => a - b);
  const place = new Map(times.map((time, i) => [time, i]));
  const column = (rows) => {
    const out = new Array(times.length).fill(undefined);
    for (const [time, value] of rows) out[place.get(time)] = value;
    return out;
  };
  if (spread) return [times, column(original), column(kept), column(spread[1]), column(spread[0])];
  const around = (sign) => times.map((time) => {
    const there = rebuilt(kept, time, linear);
    const room = there === null ? null : allowed(bounds, there, limits);
    return room === null ? null : there + sign * room;
  });
  return [times, column(original), held(times, kept, linear), around(1), around(-1)];
}

/** What was kept; held up to the newest time where the last value stands until the next. */
function held(times, kept, linear) {
  const out = new Array(times.length).fill(undefined);
  const place = new Map(times.map((time, i) => [time, i]));
  for (const [time, value] of kept) out[place.get(time)] = value;
  if (!linear && kept.length && times.length && out.at(-1) === undefined) out[times.length - 1] = kept.at(-1)[1];
  return out;
}

/** Add samples that are not there yet, in order of time, and forget what is older than `since`. */
export function merged(rows, more, since) {
  const all = new Map(rows);
  for (const [time, value] of more) all.set(time, value);
  return [...all].filter(([time]) => time >= since).sort((a, b) => a[0] - b[0]);
}
