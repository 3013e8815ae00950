// All pages, in the order of the navigation. A page is a module in pages/ with `texts`, `styles` and `render(page)`.

export const GROUPS = ["look", "run", "set"];

export const PAGES = [
  { id: "overview", icon: "overview", group: "look", load: () => import("./pages/overview.js") },
  { id: "graph", icon: "graph", group: "look", load: () => import("./pages/graph.js") },
  { id: "points", icon: "points", group: "look", load: () => import("./pages/points.js") },
  { id: "pipelines", icon: "pipelines", group: "look", load: () => import("./pages/pipelines.js") },
  { id: "devices", icon: "devices", group: "look", load: () => import("./pages/devices.js") },
  { id: "alerts", icon: "alerts", group: "run", load: () => import("./pages/alerts.js") },
  { id: "findings", icon: "findings", group: "run", load: () => import("./pages/findings.js") },
  { id: "spool", icon: "spool", group: "run", load: () => import("./pages/spool.js") },
  { id: "events", icon: "events", group: "run", load: () => import("./pages/events.js") },
  { id: "config", icon: "config", group: "set", load: () => import("./pages/config.js") },
  { id: "about", icon: "about", group: "set", load: () => import("./pages/about.js") },
];
