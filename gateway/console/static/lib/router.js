// Where we are: #/points/m1%2Fvoltage?q=volt is {id: "points", path: ["m1/voltage"], params}.

import { signal } from "./signal.js";

export const HOME = "overview";

function read() {
  const given = location.hash.startsWith("#/") ? location.hash.slice(2) : ""; // anything else is a code to sign in with
  const [place, query = ""] = given.split(/\?(.*)/s);
  const [id, ...path] = place.split("/").filter(Boolean).map(safeDecode);
  return { id: id || HOME, path, params: new URLSearchParams(query) };
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = signal(read());

addEventListener("hashchange", () => {
  route.value = read();
});

/** The address of a page: link("points", "m1/voltage", {q: "volt"}). */
export function link(id, ...rest) {
  const query = typeof rest.at(-1) === "object" && rest.at(-1) !== null ? rest.pop() : {};
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined && value !== false,
  );
  const text = new URLSearchParams(given).toString();
  return `#/${[id, ...rest]
    .filter((part) => part !== undefined && part !== "")
    .map(encodeURIComponent)
    .join("/")}${text ? `?${text}` : ""}`;
}

/** Go to a page and remember where we were. */
export function go(...place) {
  location.hash = link(...place);
}

/** Change the address in place: for filters and the like, which "back" should not collect. */
export function replace(...place) {
  history.replaceState(null, "", link(...place));
  route.value = read();
}
