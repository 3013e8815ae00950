// Texts in two languages. A text is named "file.key" and lies in i18n/<language>/<file>.json under key.

import { signal } from "./signal.js";
import { stored, store } from "./storage.js";

export const LANGUAGES = { en: "English", zh: "中文" };

export const language = signal(choose());

const texts = new Map(); // "en/file" -> object

function choose() {
  const kept = stored("language");
  if (kept in LANGUAGES) return kept;
  const wanted = (navigator.languages ?? [navigator.language]).map((one) => one.slice(0, 2).toLowerCase());
  return wanted.find((one) => one in LANGUAGES) ?? "en";
}

/** Fetch the texts of these files in the language in use, if they are not there yet. */
export async function loadTexts(...files) {
  const spoken = language.peek();
  document.documentElement.lang = spoken === "zh" ? "zh-CN" : spoken;
  await Promise.all(
    files.map(async (file) => {
      const name = `${spoken}/${file}`;
      if (texts.has(name)) return;
      const answer = await fetch(`/static/i18n/${name}.json`);
      if (!answer.ok) throw new Error(`texts ${name}: ${answer.status}`);
      texts.set(name, await answer.json());
    }),
  );
}

export function setLanguage(name) {
  store("language", name);
  language.value = name;
}

/** The BCP 47 tag for Intl. */
export const locale = () => (language.peek() === "zh" ? "zh-CN" : "en-GB");

function find(name) {
  const [file, key] = name.split(/\.(.*)/s);
  return texts.get(`${language.peek()}/${file}`)?.[key];
}

/** Whether there is a text of this name: for words that come from the gateway, such as reasons. */
export const known = (name) => find(name) !== undefined;

/**
 * The text, with `{name}` replaced by values. A text may be an object of plural forms ("one", "other"), chosen by the
 * value `n`, which is written with separators.
 */
export function t(name, values = {}) {
  let text = find(name);
  if (text === undefined) {
    console.error(`no text for ${name}`);
    return name;
  }
  if (typeof text === "object") text = text[new Intl.PluralRules(locale()).select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, part) =>
    part === "n" && typeof values.n === "number" ? values.n.toLocaleString(locale()) : (values[part] ?? ""),
  );
}

/** The text if there is one, else `otherwise`. */
export const tr = (name, otherwise) => (known(name) ? t(name) : otherwise);
