// Icons of our own, 20 by 20, drawn with the colour of the text around them.

import { s } from "../lib/dom.js";

const PATHS = {
  overview: "M3 11a7 7 0 0 1 14 0M10 11l3.2-3.6M3.6 15h12.8",
  graph: "M3 5.5h4v3H3zM3 12.5h4v3H3zM13 8.5h4v3h-4zM7 7h2.5c1 0 1 3 2 3H13M7 14h2.5c1 0 1-4 2-4",
  points: "M3 5h1M3 10h1M3 15h1M7 5h10M7 10h10M7 15h10",
  pipelines: "M3 4h14l-5.2 6.2V16l-3.6-1.8v-4z",
  devices: "M6 3h8v14H6zM8.5 6h3v3h-3zM8.5 12.5h.01M11.5 12.5h.01",
  alerts: "M10 3a4.5 4.5 0 0 1 4.5 4.5c0 4 1.5 5 1.5 6H4c0-1 1.5-2 1.5-6A4.5 4.5 0 0 1 10 3zM8.5 16a1.6 1.6 0 0 0 3 0",
  findings: "M9 4a5 5 0 1 1 0 10A5 5 0 0 1 9 4zM12.7 12.7 17 17M9 7v4M7 9h4",
  spool: "M4 5c0-2.6 12-2.6 12 0v10c0 2.6-12 2.6-12 0zM4 5c0 2.6 12 2.6 12 0M4 10c0 2.6 12 2.6 12 0",
  events: "M3 4h14v12H3zM6 8l2 2-2 2M10.5 12h3.5",
  config: "M4 5h7M15 5h1M4 10h2M10 10h6M4 15h8M16 15h0M13 3.5v3M8 8.5v3M14 13.5v3",
  about: "M10 2.8a7.2 7.2 0 1 1 0 14.4A7.2 7.2 0 0 1 10 2.8zM10 9v5M10 6.2h.01",
  menu: "M3 5.5h14M3 10h14M3 14.5h14",
  close: "M5 5l10 10M15 5L5 15",
  search: "M9 4a5 5 0 1 1 0 10A5 5 0 0 1 9 4zM12.7 12.7 17 17",
  sun: "M10 6.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M15.7 4.3l-1.1 1.1M5.4 14.6l-1.1 1.1",
  moon: "M15.8 12A6.6 6.6 0 0 1 8 4.2 6.6 6.6 0 1 0 15.8 12z",
  language: "M10 2.8a7.2 7.2 0 1 1 0 14.4A7.2 7.2 0 0 1 10 2.8zM2.8 10h14.4M10 2.8c2.4 2.2 2.4 12.2 0 14.4M10 2.8c-2.4 2.2-2.4 12.2 0 14.4",
  leave: "M8 4H4v12h4M8 10h9M13.5 6.5 17 10l-3.5 3.5",
  download: "M10 3v9M6.5 8.5 10 12l3.5-3.5M4 16h12",
  check: "M4 10.5l4 4 8-9",
  warning: "M10 3.5 17.5 16.5h-15zM10 8.5v3.5M10 14.3h.01",
  cross: "M10 2.8a7.2 7.2 0 1 1 0 14.4A7.2 7.2 0 0 1 10 2.8zM7.5 7.5l5 5M12.5 7.5l-5 5",
  circle: "M10 2.8a7.2 7.2 0 1 1 0 14.4A7.2 7.2 0 0 1 10 2.8zM6.8 10.2l2.3 2.3 4.1-4.7",
  clock: "M10 2.8a7.2 7.2 0 1 1 0 14.4A7.2 7.2 0 0 1 10 2.8zM10 6v4.3l2.8 1.7",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  first: "M14 5l-5 5 5 5M6 5v10",
  last: "M6 5l5 5-5 5M14 5v10",
  up: "M5 12l5-5 5 5",
  down: "M5 8l5 5 5-5",
  external: "M8 5H4v11h11v-4M11 4h5v5M16 4l-7 7",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  pause: "M7 4.5v11M13 4.5v11",
  play: "M6 4l10 6-10 6z",
  refresh: "M16 6v-3M16 6h-3M16 6a7 7 0 1 0 1 5",
  copy: "M7 7h9v9H7zM13 7V4H4v9h3",
  undo: "M4 8h8a4 4 0 0 1 0 8H8M4 8l3.5-3.5M4 8l3.5 3.5",
  edit: "M4 16l1-4 8-8 3 3-8 8zM11.5 5.5l3 3",
  user: "M10 3.5a3 3 0 1 1 0 6 3 3 0 0 1 0-6zM4 16.5c0-6 12-6 12 0z",
  adapter: "M3 10h4M7 6h4a4 4 0 0 1 0 8H7zM15 10h2M10 8v0M10 12v0",
  uplink: "M10 16V5M5.5 9.5 10 5l4.5 4.5M4 16h12",
  broker: "M10 10m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M10 8V3M10 17v-5M8 10H3M17 10h-5",
};

/** An icon by name. It says nothing to screen readers unless it has a label. */
export function icon(name, { size = 20, label = "" } = {}) {
  return s(
    "svg",
    { class: "icon", width: size, height: size, viewBox: "0 0 20 20", fill: "none", stroke: "currentColor", "stroke-width": 1.6, "stroke-linecap": "round", "stroke-linejoin": "round", ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) },
    s("path", { d: PATHS[name] ?? "" }),
  );
}
