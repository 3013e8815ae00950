// Requests to the gateway. Errors say what the gateway said, in one line.

import { signal } from "./signal.js";

/** Who has signed in: {role, gateway, version, read_only}; null nobody, undefined not known yet. */
export const session = signal(undefined);

export class ApiError extends Error {
  constructor(status, message, problems = []) {
    super(message);
    this.status = status; // 0: the gateway cannot be reached
    this.problems = problems;
  }
}

/** The address of an API path with a query; empty values are left out. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== "" && value !== null && value !== undefined && value !== false,
  );
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}

/** GET /api/<path>: the answer, decoded. */
export const get = (path, query, { signal: abort } = {}) => ask("GET", address(path, query), undefined, abort);

/** POST /api/<path> with a JSON body. */
export const post = (path, body = {}) => ask("POST", address(path), body);

async function ask(method, url, body, abort) {
  const headers = { accept: "application/json" };
  if (body !== undefined) Object.assign(headers, { "content-type": "application/json", "x-onpath": "1" });
  let answer;
  try {
    answer = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: abort,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "");
  }
  const text = await answer.text();
  let said = {};
  try {
    said = text ? JSON.parse(text) : {};
  } catch {
    said = { error: text.slice(0, 300) };
  }
  if (answer.ok) return said;
  if (answer.status === 401 && session.peek()) session.value = null;
  throw new ApiError(answer.status, said.error ?? answer.statusText, said.problems);
}

/** Whether the one who has signed in may change things. */
export const mayChange = () => session.value?.role === "admin" && !session.value?.read_only;
