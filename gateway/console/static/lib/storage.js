// What the browser remembers of the console: language, theme. Works without storage too.

export function stored(name) {
  try {
    return localStorage.getItem(`onpath.${name}`) ?? "";
  } catch {
    return "";
  }
}

export function store(name, value) {
  try {
    if (value) localStorage.setItem(`onpath.${name}`, value);
    else localStorage.removeItem(`onpath.${name}`);
  } catch {
    // private windows may refuse; the choice then lasts as long as the page
  }
}
