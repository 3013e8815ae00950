// Things in front of the page: drawers, questions, short words at the edge. The browser's own dialog keeps the focus.

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Scope, onEnd } from "../lib/signal.js";
import { button, iconButton } from "./basics.js";
import { icon } from "./icon.js";

/**
 * A panel at the right. `content()` is run in a scope that ends when it closes; `onClose` is called then, by whichever
 * way. Returns {close}. It closes with the page that opened it.
 */
export function drawer({ title, content, onClose, wide = false }) {
  return open({ class: ["drawer", wide && "is-wide"], title, content, onClose });
}

/** A box in the middle; `actions` are buttons at its foot. */
export function dialog({ title, content, actions, onClose, wide = false }) {
  return open({ class: ["dialog", wide && "is-wide"], title, content, actions, onClose });
}

function open({ class: name, title, content, actions, onClose }) {
  const scope = new Scope(null);
  let over = false;
  const close = () => {
    if (over) return;
    over = true;
    element.close();
    element.remove();
    scope.end();
    onClose?.();
  };
  const element = h(
    "dialog",
    {
      class: name,
      "aria-label": title,
      onCancel: close,
      onClose: close,
      onMousedown: (event) => event.target === element && close(),
    },
    h(
      "div",
      { class: "dialog-box" },
      h(
        "header",
        { class: "dialog-head" },
        h("h2", { tabindex: "-1", autofocus: true }, title),
        iconButton("close", t("shell.close"), { onClick: close }),
      ),
      h("div", { class: "dialog-body" }, scope.run(content)),
      actions
        ? h(
            "footer",
            { class: "dialog-foot" },
            scope.run(() => actions(close)),
          )
        : null,
    ),
  );
  onEnd(close);
  document.body.append(element);
  element.showModal();
  return { close, element };
}

/** Ask before something is done: resolves to true or false. */
export function confirm({ title, text, yes, kind = "primary" }) {
  return new Promise((resolve) => {
    dialog({
      title,
      content: () => h("div", {}, text),
      actions: (close) => [
        button(t("shell.cancel"), { onClick: close }),
        button(yes, {
          kind,
          onClick: () => {
            resolve(true);
            close();
          },
        }),
      ],
      onClose: () => resolve(false),
    });
  });
}

let shelf = null;

/** A short word at the edge. kind: "ok", "bad" or "info"; errors stay longer. */
export function toast(text, kind = "ok") {
  if (!shelf?.isConnected)
    document.body.append((shelf = h("div", { class: "toasts", role: "status", "aria-live": "polite" })));
  const one = h(
    "div",
    { class: ["toast", `is-${kind}`] },
    icon({ ok: "circle", bad: "cross", info: "about" }[kind], { size: 18 }),
    h("span", {}, text),
    iconButton("close", t("shell.close"), { onClick: () => one.remove() }),
  );
  (document.querySelector("dialog[open]:last-of-type") ?? document.body).append(shelf);
  shelf.append(one);
  setTimeout(() => one.remove(), kind === "bad" ? 12000 : 5000);
}
