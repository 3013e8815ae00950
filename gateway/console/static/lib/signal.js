// Values that tell who depends on them. A scope owns what was made inside it and ends it together.

let reading = null; // the effect that runs now
let owner = null; // the scope that owns what is made now

export class Scope {
  #ends = new Set();
  #parent;

  constructor(parent = owner) {
    this.#parent = parent;
    parent?.add(this);
  }

  /** Own something that has an `end()`. */
  add(thing) {
    this.#ends.add(thing);
  }

  drop(thing) {
    this.#ends.delete(thing);
  }

  /** Call `work` so that everything it makes ends with this scope. */
  run(work) {
    const [before, effectBefore] = [owner, reading];
    owner = this;
    reading = null;
    try {
      return work();
    } finally {
      owner = before;
      reading = effectBefore;
    }
  }

  /** End what is inside; the scope can be used again. */
  clear() {
    const ends = [...this.#ends];
    this.#ends.clear();
    for (const thing of ends) thing.end();
  }

  end() {
    this.#parent?.drop(this);
    this.clear();
  }
}

/** Call `work` when the present scope ends. */
export function onEnd(work) {
  owner?.add({ end: work });
}

/** A value to read and set by `.value`; effects that read it run again when it becomes another. */
export function signal(value) {
  const readers = new Set();
  return {
    get value() {
      if (reading) {
        readers.add(reading);
        reading.sources.add(readers);
      }
      return value;
    },
    set value(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const effect of [...readers]) effect.run();
    },
    /** The value, without depending on it. */
    peek: () => value,
  };
}

class Effect {
  sources = new Set();
  #inside = new Scope(null);
  #work;
  #ended = false;
  #running = false;

  constructor(work) {
    this.#work = work;
    owner?.add(this);
    this.run();
  }

  run() {
    if (this.#ended || this.#running) return;
    this.#forget();
    this.#inside.clear();
    const before = reading;
    this.#running = true;
    try {
      this.#inside.run(() => {
        reading = this;
        this.#work();
      });
    } finally {
      reading = before;
      this.#running = false;
    }
  }

  #forget() {
    for (const readers of this.sources) readers.delete(this);
    this.sources.clear();
  }

  end() {
    this.#ended = true;
    this.#forget();
    this.#inside.end();
  }
}

/** Run `work` now and whenever a signal that it read changes. Returns a function that ends it. */
export function effect(work) {
  const made = new Effect(work);
  return () => made.end();
}

/** Read signals inside `work` without depending on them. */
export function untracked(work) {
  const before = reading;
  reading = null;
  try {
    return work();
  } finally {
    reading = before;
  }
}

/** A signal computed from others. */
export function computed(work) {
  const made = signal(undefined);
  effect(() => {
    made.value = work();
  });
  return made;
}
