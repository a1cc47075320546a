// The map over SQLite, beside an obvious one.

import { DurableObject } from "cloudflare:workers";

import { PART_BYTES, SqlMap } from "../../src/sql-map.js";

interface Env {
  TOLLGATE: DurableObjectNamespace<TollgateObject>;
}

type Entry = readonly [Uint8Array, Uint8Array];

export class TollgateObject extends DurableObject<Env> {
  /** Random changes from a seed; gives the first difference between both maps. */
  async compare(seed: number): Promise<string | null> {
    const map = new SqlMap(this.ctx.storage);
    const model = new Map<string, Uint8Array>();
    const random = lcg(seed);
    const key = (): Uint8Array => {
      const length = random() % 4;
      return Uint8Array.from({ length }, () => [0, 1, 127, 128, 255][random() % 5] ?? 0);
    };
    const value = (): Uint8Array => {
      const lengths = [0, 1, 100, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 7];
      const bytes = new Uint8Array(lengths[random() % (random() % 8 === 0 ? 7 : 3)] ?? 0);
      bytes.fill(random() % 256);
      // A view within a larger buffer, as memory of wasm gives.
      const within = new Uint8Array(bytes.length + 8);
      within.set(bytes, 3);
      return within.subarray(3, 3 + bytes.length);
    };
    for (let step = 0; step < 60; step++) {
      const puts: Entry[] = Array.from({ length: random() % 3 }, () => [key(), value()]);
      const removes = Array.from({ length: random() % 3 }, key).filter(
        (removed) => !puts.some(([put]) => hex(put) === hex(removed)),
      );
      map.commit(puts, removes);
      removes.forEach((removed) => model.delete(hex(removed)));
      puts.forEach(([put, bytes]) => model.set(hex(put), bytes.slice()));
      const reader = random() % 5 === 0 ? new SqlMap(this.ctx.storage) : map;
      const asked = key();
      if (!same(reader.get(asked), model.get(hex(asked)))) {
        return `step ${step}: get ${hex(asked)}`;
      }
      const first = [...model.keys()].sort().find((each) => each >= hex(asked));
      const found = reader.firstAtOrAfter(asked);
      if (found === undefined ? first !== undefined : hex(found[0]) !== first) {
        return `step ${step}: first at or after ${hex(asked)}`;
      }
      if (first !== undefined && !same(found?.[1], model.get(first))) {
        return `step ${step}: value of ${first}`;
      }
    }
    return null;
  }

  /** A commit that fails in its middle; gives what is there after it. */
  async half(): Promise<string[]> {
    const map = new SqlMap(this.ctx.storage);
    const [a, b, c] = [1, 2, 3].map((byte) => Uint8Array.of(byte)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    map.commit([[a, a]], []);
    try {
      // No row has room for this key.
      map.commit([[b, b], [new Uint8Array(3 << 20), c]], [a]);
      return ["it was taken"];
    } catch {
      return [a, b].filter((key) => map.get(key) !== undefined).map(hex);
    }
  }
}

function lcg(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 8;
  };
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) {
    return a === b;
  }
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const stub = env.TOLLGATE.get(env.TOLLGATE.idFromName(pathname));
    if (pathname === "/half") {
      return Response.json({ there: await stub.half() });
    }
    return Response.json({ wrong: await stub.compare(Number(pathname.slice(1))) });
  },
} satisfies ExportedHandler<Env>;
