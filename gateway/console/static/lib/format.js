// Numbers, units, times and words, the same way on all pages. A number and its unit are one word (U+202F between them).

import { known, locale, t } from "./i18n.js";

const THIN = "\u202f";
const NOTHING = "–";

const formats = new Map();
function format(options) {
  const name = locale() + JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat(locale(), options));
  return formats.get(name);
}

/** A count: 12,345. */
export const count = (value) =>
  value === null || value === undefined ? NOTHING : format({ maximumFractionDigits: 0 }).format(value);

/** A number with a fixed count of decimals, so that it does not jump. */
export const fixed = (value, decimals = 1) =>
  value === null || value === undefined
    ? NOTHING
    : format({ minimumFractionDigits: decimals, maximumFractionDigits: decimals }).format(value);

/** A measured value: up to seven digits that count, no exponent where it can be helped. */
export function measured(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return format({ maximumFractionDigits: 0 }).format(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(4);
  const decimals = size >= 1e6 ? 1 : size >= 1000 ? 2 : size >= 1 ? 3 : 5;
  return format({ maximumFractionDigits: decimals }).format(value);
}

const UNITS = {
  Cel: "°C",
  "[degF]": "°F",
  deg: "°",
  "kW.h": "kWh",
  "W.h": "Wh",
  "MW.h": "MWh",
  "V.A": "VA",
  "kV.A": "kVA",
  "V.A.h": "VAh",
  "kV.A.h": "kVAh",
  "A.h": "Ah",
  "V.A{reactive}": "var",
  "kV.A{reactive}": "kvar",
  "V.A.h{reactive}": "varh",
  "kV.A.h{reactive}": "kvarh",
  "kvar.h": "kvarh",
  "var.h": "varh",
  "[ppm]": "ppm",
  Ohm: "Ω",
  m3: "m³",
  "m3/h": "m³/h",
  "W/m2": "W/m²",
  1: "",
  um: "µm",
  us: "µs",
};

/** A unit as people write it: UCUM's `Cel` is °C. */
export const unit = (ucum) => (ucum ? (UNITS[ucum] ?? ucum) : "");

/** A value with its unit. */
export const quantity = (value, ucum) =>
  measured(value) + (ucum && value !== null && value !== undefined ? THIN + unit(ucum) : "");

function scaled(value, units, step) {
  let size = Math.abs(value);
  let index = 0;
  while (size >= step && index < units.length - 1) {
    size /= step;
    index += 1;
  }
  const decimals =
    index === 0 ? (step === 1000 && size < 100 && !Number.isInteger(size) ? 1 : 0) : size < 10 ? 2 : size < 100 ? 1 : 0;
  return fixed(value < 0 ? -size : size, decimals) + THIN + units[index];
}

/** Bytes in powers of 1000: 12.3 kB. */
export const bytes = (value) =>
  value === null || value === undefined ? NOTHING : scaled(value, ["B", "kB", "MB", "GB", "TB"], 1000);

/** Bytes a second. */
export const byteRate = (value) => (value === null || value === undefined ? NOTHING : `${bytes(value)}/s`);

/** Samples or messages a second. */
export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  return `${value >= 100 ? count(value) : fixed(value, 1)}${THIN}/s`;
}

/** A share: 12.3 %. */
export const percent = (value, decimals = 1) =>
  value === null || value === undefined ? NOTHING : fixed(value, decimals) + THIN + "%";

/** How long: 450 ms, 12 s, 3 min 20 s, 5 h 12 min, 3 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const value = Math.max(0, seconds);
  if (value < 1) return `${Math.round(value * 1000)}${THIN}ms`;
  if (value < 10) return `${fixed(value, 1)}${THIN}s`;
  return long(value);
}

/** How old: as `duration`, but in whole seconds, so that it is calm. */
export const age = (seconds) =>
  seconds === null || seconds === undefined ? NOTHING : long(Math.max(0, Math.floor(seconds)));

function long(value) {
  const whole = Math.floor(value);
  const [d, hours, minutes, secs] = [
    Math.floor(whole / 86400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  const pair = (first, a, second, b) => `${first}${THIN}${a}` + (second ? ` ${second}${THIN}${b}` : "");
  if (d) return pair(d, t("shell.unit_day"), hours, "h");
  if (hours) return pair(hours, "h", minutes, "min");
  if (minutes) return pair(minutes, "min", secs, "s");
  return `${secs}${THIN}s`;
}

/** The time of day, with ms if asked: 14:03:22. */
export const timeOfDay = (ms, { millis = false } = {}) =>
  ms === null || ms === undefined
    ? NOTHING
    : new Date(ms).toLocaleTimeString(locale(), {
        hour12: false,
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        ...(millis && { fractionalSecondDigits: 3 }),
      });

/** Date and time: 2025-03-01 14:03:22, in this browser's zone. */
export function dateTime(ms, options) {
  if (ms === null || ms === undefined) return NOTHING;
  const date = new Date(ms);
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${timeOfDay(ms, options)}`;
}

/** A word that the gateway uses (a state, a reason, a flag) in the reader's language, or as it is. */
export const word = (kind, value) =>
  known(`words.${kind}_${value}`) ? t(`words.${kind}_${value}`) : String(value ?? "");

export { NOTHING };
