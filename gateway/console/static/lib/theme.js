// Light or dark: as the system has it, until somebody chooses.

import { computed, signal } from "./signal.js";
import { store, stored } from "./storage.js";

const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = signal(stored("theme"));
const wanted = signal(system.matches ? "dark" : "light");
system.addEventListener("change", () => {
  wanted.value = system.matches ? "dark" : "light";
});

/** "light" or "dark", as shown. */
export const theme = computed(() => {
  const shown = chosen.value || wanted.value;
  document.documentElement.dataset.theme = shown;
  return shown;
});

export function toggleTheme() {
  const next = theme.peek() === "dark" ? "light" : "dark";
  chosen.value = next;
  store("theme", next === wanted.peek() ? "" : next);
}

/** The value of a design token, as charts and SVG need it: token("chart-1"). */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
