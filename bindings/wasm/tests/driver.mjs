// Performs steps that come as JSON lines: see src/lib.rs. The arguments name the build of the package and the kind of store.

import { createInterface } from "node:readline";

const [build, kind] = process.argv.slice(2);
const { init, StoreObject } = await import(`../npm/dist/${build}/node.js`);
const { Session } = await import(`../npm/dist/${build}/scenario.js`);

/** A map in memory, in order. */
class OrderedMap {
  #entries = new Map();
  #keys = [];

  static #hex(key) {
    return Buffer.from(key).toString("hex");
  }

  /** Where a key is, or would be. */
  #place(hex) {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#keys[middle] < hex) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get(key) {
    return this.#entries.get(OrderedMap.#hex(key));
  }

  firstAtOrAfter(key) {
    const hex = this.#keys[this.#place(OrderedMap.#hex(key))];
    return hex === undefined ? undefined : [new Uint8Array(Buffer.from(hex, "hex")), this.#entries.get(hex)];
  }

  commit(puts, removes) {
    for (const [key, value] of puts) {
      const hex = OrderedMap.#hex(key);
      if (!this.#entries.has(hex)) this.#keys.splice(this.#place(hex), 0, hex);
      this.#entries.set(hex, value);
    }
    for (const key of removes) {
      const hex = OrderedMap.#hex(key);
      if (this.#entries.delete(hex)) this.#keys.splice(this.#place(hex), 1);
    }
  }
}

/** Objects in this process, each over a map; a message takes a turn of the event loop each way. */
class LocalObjects {
  #maps = new Map();
  #objects = new Map();

  async send({ object, message }) {
    await undefined;
    if (!this.#maps.has(object)) this.#maps.set(object, new OrderedMap());
    if (!this.#objects.has(object)) this.#objects.set(object, new StoreObject(this.#maps.get(object)));
    const answer = this.#objects.get(object).perform(message, 0);
    await undefined;
    return answer;
  }

  /** All objects are opened again. */
  reopen() {
    for (const object of this.#objects.values()) object.free();
    this.#objects.clear();
    return this;
  }
}

const kinds = {
  memory: () => new Session(),
  objects: () => new Session({ store: () => new LocalObjects(), reopen: (store) => store.reopen() }),
};

const start = kinds[kind];
const sessions = new Map();

async function answer({ session: number, step, explain, restart }) {
  if (!sessions.has(number)) sessions.set(number, start());
  const session = sessions.get(number);
  if (explain !== undefined) return session.explain(explain).then((told) => (told.error === undefined ? told : { reply: told }));
  const reply = await session.step(restart === true ? { op: "restart" } : step);
  return { reply, must_finish: step?.op === "request" && session.decision(step.id)?.ticket !== undefined };
}

await init();
for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  if (line.end === true) {
    sessions.delete(line.session);
    console.log(JSON.stringify({ n: line.n }));
  } else {
    answer(line).then((told) => console.log(JSON.stringify({ n: line.n, ...told })));
  }
}
