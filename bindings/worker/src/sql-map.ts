// The ordered map that an object's state is kept in: one table of SQLite, in the order of its keys' bytes.

import type { KvMap } from "tollgate/objects";

/** A row may have 2 MB with its key; what is longer is kept in parts. */
export const PART_BYTES = 1 << 20;

interface Row extends Record<string, SqlStorageValue> {
  key: ArrayBuffer;
  value: ArrayBuffer;
  parts: number;
}

/** Keys and values as blobs. `parts` is how many rows of `tollgate_parts` come after a value's first. */
export class SqlMap implements KvMap {
  readonly #storage: DurableObjectStorage;
  readonly #sql: SqlStorage;
  /** Whether there may be long values: most objects never have one, and need not look for old parts. */
  #hasParts: boolean;

  constructor(storage: DurableObjectStorage) {
    const { sql } = storage;
    this.#storage = storage;
    this.#sql = sql;
    sql.exec(
      `CREATE TABLE IF NOT EXISTS tollgate (
         key BLOB PRIMARY KEY, value BLOB NOT NULL, parts INTEGER NOT NULL
       ) WITHOUT ROWID, STRICT`,
    );
    sql.exec(
      `CREATE TABLE IF NOT EXISTS tollgate_parts (
         key BLOB, part INTEGER, value BLOB NOT NULL, PRIMARY KEY (key, part)
       ) WITHOUT ROWID, STRICT`,
    );
    this.#hasParts = sql.exec("SELECT 1 FROM tollgate_parts LIMIT 1").toArray().length > 0;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const rows = this.#sql.exec<Row>("SELECT * FROM tollgate WHERE key = ?", bytes(key));
    const row = rows.next().value;
    return row === undefined ? undefined : this.#value(row);
  }

  firstAtOrAfter(key: Uint8Array): readonly [Uint8Array, Uint8Array] | undefined {
    const rows = this.#sql.exec<Row>(
      "SELECT * FROM tollgate WHERE key >= ? ORDER BY key LIMIT 1",
      bytes(key),
    );
    const row = rows.next().value;
    return row === undefined ? undefined : [new Uint8Array(row.key), this.#value(row)];
  }

  /** All of it or none, also where the caller goes on after an error. */
  commit(
    puts: readonly (readonly [Uint8Array, Uint8Array])[],
    removes: readonly Uint8Array[],
  ): void {
    this.#storage.transactionSync(() => {
      for (const key of removes) {
        this.#sql.exec("DELETE FROM tollgate WHERE key = ?", bytes(key));
        this.#removeParts(key);
      }
      for (const [key, value] of puts) {
        this.#put(key, value);
      }
    });
  }

  #put(key: Uint8Array, value: Uint8Array): void {
    const parts = Math.max(Math.ceil(value.length / PART_BYTES) - 1, 0);
    this.#removeParts(key);
    this.#sql.exec(
      "INSERT OR REPLACE INTO tollgate (key, value, parts) VALUES (?, ?, ?)",
      bytes(key),
      bytes(value.subarray(0, PART_BYTES)),
      parts,
    );
    for (let part = 1; part <= parts; part++) {
      this.#hasParts = true;
      this.#sql.exec(
        "INSERT INTO tollgate_parts (key, part, value) VALUES (?, ?, ?)",
        bytes(key),
        part,
        bytes(value.subarray(part * PART_BYTES, (part + 1) * PART_BYTES)),
      );
    }
  }

  #removeParts(key: Uint8Array): void {
    if (this.#hasParts) {
      this.#sql.exec("DELETE FROM tollgate_parts WHERE key = ?", bytes(key));
    }
  }

  #value(row: Row): Uint8Array {
    if (row.parts === 0) {
      return new Uint8Array(row.value);
    }
    const rest = this.#sql
      .exec<{ value: ArrayBuffer }>(
        "SELECT value FROM tollgate_parts WHERE key = ? ORDER BY part",
        row.key,
      )
      .toArray();
    if (rest.length !== row.parts) {
      throw new Error("a long value in this object's storage has lost parts");
    }
    return concatenated([row.value, ...rest.map((part) => part.value)]);
  }
}

/** Binding a view binds all of its buffer, and memory of wasm has views only. */
function bytes(view: Uint8Array): ArrayBuffer {
  const whole = view.byteLength === view.buffer.byteLength && view.buffer instanceof ArrayBuffer;
  return whole ? view.buffer : view.slice().buffer;
}

function concatenated(buffers: readonly ArrayBuffer[]): Uint8Array {
  const all = new Uint8Array(buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0));
  let at = 0;
  for (const buffer of buffers) {
    all.set(new Uint8Array(buffer), at);
    at += buffer.byteLength;
  }
  return all;
}
