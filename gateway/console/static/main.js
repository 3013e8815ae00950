// The beginning: who is signed in, then the shell or the sign in.

import { get, session } from "./lib/api.js";
import { language, loadTexts, t } from "./lib/i18n.js";
import { resetLive } from "./lib/live.js";
import { Scope, effect, untracked } from "./lib/signal.js";
import { store, stored } from "./lib/storage.js";
import "./lib/theme.js";
import { shell } from "./shell.js";
import { signIn } from "./sign_in.js";

const root = document.getElementById("root");
const inside = new Scope(null);

/** Somebody who never signed in here is not asked for: the answer would be an error in the browser's log. */
async function whoAmI() {
  if (!stored("signed_in")) {
    session.value = null;
    return;
  }
  try {
    session.value = await get("session");
  } catch (error) {
    if (error.status === 0) setTimeout(whoAmI, 1000);
    else session.value = null;
  }
}

async function show(signedIn) {
  const spoken = language.peek();
  await loadTexts("shell", "words", ...(signedIn ? [] : ["sign_in"]));
  if (signedIn !== Boolean(session.peek()) || spoken !== language.peek()) return; // it changed while the texts came
  inside.clear();
  document.title = t("shell.console");
  root.replaceChildren(inside.run(signedIn ? shell : signIn));
}

effect(() => {
  void language.value;
  const who = session.value;
  if (who === undefined) return;
  untracked(() => {
    inside.clear(); // what is on the screen stands still until the new texts are there
    store("signed_in", who ? "yes" : "");
    resetLive();
    show(Boolean(who));
  });
});

whoAmI();
