// Style sheets that only some pages need.

import { h } from "./dom.js";

const loaded = new Map();

/** Load css/<name>.css, or an absolute address, once; resolves when it is there (or cannot be had). */
export function loadStyle(name) {
  if (!loaded.has(name)) {
    loaded.set(
      name,
      new Promise((done) => {
        document.head.append(
          h("link", {
            rel: "stylesheet",
            href: name.startsWith("/") ? name : `/static/css/${name}.css`,
            onLoad: () => done(true),
            onError: () => done(false),
          }),
        );
      }),
    );
  }
  return loaded.get(name);
}
