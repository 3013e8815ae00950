// What a page is given: render(page).

import { get } from "./lib/api.js";
import { follow } from "./lib/live.js";
import { replace, route } from "./lib/router.js";
import { effect, onEnd, signal } from "./lib/signal.js";

export function pageContext(id) {
  const here = signal(route.peek());
  effect(() => {
    if (route.value.id === id) here.value = route.value; // a page that is left keeps its last address
  });
  const abort = new AbortController();
  onEnd(() => abort.abort());
  return {
    id,
    /** Signal of {path, params}: the rest of the address, for as long as the page is shown. */
    route: here,
    /** Change path and query in place: page.address(["m1/voltage"], {q: "volt"}). */
    address: (path, params = {}) => route.peek().id === id && replace(id, ...path, params),
    /** Aborts when the page is left: for fetch. */
    abort: abort.signal,
    /** Signal of the latest payload of a live topic: what GET /api/<topic> says, then what the stream says; null before. */
    live: (topic, { query, first = topic } = {}) => {
      const latest = follow(topic);
      if (first && latest.peek() === null)
        get(first, query, { signal: abort.signal }).then(
          (payload) => latest.peek() ?? (latest.value = payload),
          ignore,
        );
      return latest;
    },
    /** {data, error, again}: signals of what GET /api/<path> says, and a function that asks again. */
    fetch: (path, query) => {
      const data = signal(null);
      const error = signal(null);
      const again = async () => {
        try {
          data.value = await get(path, query, { signal: abort.signal });
          error.value = null;
        } catch (problem) {
          if (problem.name !== "AbortError") error.value = problem;
        }
      };
      again();
      return { data, error, again };
    },
  };
}

const ignore = () => {}; // the stream tells the same a second later, and says so if it cannot
