// How a device stands, in one word, and whether it keeps its period.

import { age, duration, fixed } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { gatewayNow } from "../lib/live.js";

const LATE = 1.25; // times the period asked for: more is a lag and not a jitter

/** Whether it is read noticeably slower than asked. */
export const lags = (row) => Boolean(row.link !== "down" && row.period_asked_s && row.period_achieved_s > row.period_asked_s * LATE);

/** A period as measured: steady in its width, so that it does not jump between ms and s. */
export const achievedText = (seconds) => (seconds >= 0.95 && seconds < 60 ? `${fixed(seconds, 2)}\u202fs` : duration(seconds));

/** How many times slower than asked. */
export const lag = (row) => fixed(row.period_achieved_s / row.period_asked_s, 1);

/** "down", "stale", "late", "partly" (points without a value), "up" or "unknown". */
export function standing(row) {
  if (row.link === "down") return "down";
  if (row.stale) return "stale";
  if (lags(row)) return "late";
  if (Object.values(row.bad ?? {}).some(Boolean)) return "partly";
  return row.link === "up" ? "up" : "unknown";
}

/** How long ago, in words; counts on where it is used in a function. */
export const ageText = (ms) => t("devices.ago", { age: age((gatewayNow() - ms) / 1000) });
