// JSON of the administration API: exact amounts, and no field that nobody reads.

import type { AmountLike, SpendCap, StoredResponse } from "tollgate/objects";

/** A body that is not as it should be. */
export class Malformed extends Error {}

/** JSON with amounts as whole numbers of any size, and names in the policy's spelling. */
export function plain(value: unknown): string {
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (Array.isArray(value)) {
    return `[${value.map(plain).join(",")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => `${JSON.stringify(snake(name))}:${plain(member)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value ?? null);
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The fields of an object. Each is read once; one that nobody has read is an error. */
export class Fields {
  readonly #members: Map<string, unknown>;

  constructor(members: object) {
    this.#members = new Map(Object.entries(members));
  }

  static parse(text: string): Fields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new Malformed("the body is not JSON");
    }
    return Fields.of(value, "the body");
  }

  static of(value: unknown, what: string): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Malformed(`${what} must be an object`);
    }
    return new Fields(value);
  }

  /** After the last field. */
  end(): void {
    const [unread] = this.#members.keys();
    if (unread !== undefined) {
      throw new Malformed(`there is no field ${JSON.stringify(unread)} here`);
    }
  }

  text(name: string): string | undefined {
    const value = this.#take(name);
    if (value !== undefined && typeof value !== "string") {
      throw new Malformed(`${name} must be a text`);
    }
    return value;
  }

  /** A whole number that JSON keeps exactly. */
  count(name: string): number | undefined {
    const value = this.#take(name);
    if (value !== undefined && !isCount(value)) {
      throw new Malformed(`${name} must be a whole number`);
    }
    return value;
  }

  flag(name: string): boolean | undefined {
    const value = this.#take(name);
    if (value !== undefined && typeof value !== "boolean") {
      throw new Malformed(`${name} must be true or false`);
    }
    return value;
  }

  amount<N extends string>(name: N): { [K in N]?: AmountLike } {
    const value = this.#take(name);
    return value === undefined ? {} : named(name, amountOf(name, value));
  }

  texts<N extends string>(name: N): { [K in N]?: string[] } {
    const value = this.#take(name);
    return value === undefined ? {} : named(name, list(name, value).map((item) => textOf(name, item)));
  }

  /** A time, or `null` to take it away. */
  time<N extends string>(name: string, as: N): { [K in N]?: number | null } {
    const value = this.#take(name);
    if (value === undefined) {
      return {};
    }
    if (value !== null && !isCount(value)) {
      throw new Malformed(`${name} must be Unix milliseconds or null`);
    }
    return named(as, value);
  }

  quota<N extends string>(name: N): { [K in N]?: { limit: number; windowMs: number } | null } {
    const value = this.#take(name);
    if (value === undefined) {
      return {};
    }
    if (value === null) {
      return named(name, null);
    }
    const fields = Fields.of(value, name);
    const [limit, windowMs] = [fields.count("limit"), fields.count("window_ms")];
    fields.end();
    if (limit === undefined || windowMs === undefined) {
      throw new Malformed(`${name} must have limit and window_ms`);
    }
    return named(name, { limit, windowMs });
  }

  caps<N extends string>(name: string, as: N): { [K in N]?: SpendCap[] } {
    const value = this.#take(name);
    return value === undefined ? {} : named(as, list(name, value).map((item) => capOf(name, item)));
  }

  pairs(name: string): [string, string][] {
    const value = this.#take(name);
    return list(name, value ?? []).map((item) => {
      const [header, text, more] = list(name, item);
      if (more !== undefined) {
        throw new Malformed(`${name} must be pairs of texts`);
      }
      return [textOf(name, header), textOf(name, text)];
    });
  }

  response<N extends string>(name: N): { [K in N]?: StoredResponse } {
    const value = this.#take(name);
    if (value === undefined) {
      return {};
    }
    const fields = Fields.of(value, name);
    const status = fields.count("status");
    if (status === undefined || status < 200 || status > 599) {
      throw new Malformed(`${name}.status must be 200 to 599`);
    }
    const response = { status, headers: fields.pairs("headers"), body: fields.text("body") ?? "" };
    fields.end();
    return named(name, response);
  }

  #take(name: string): unknown {
    const value = this.#members.get(name);
    this.#members.delete(name);
    return value;
  }
}

function named<N extends string, T>(name: N, value: T): { [K in N]: T } {
  return { [name]: value } as { [K in N]: T };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function textOf(name: string, value: unknown): string {
  if (typeof value !== "string") {
    throw new Malformed(`${name} must hold texts`);
  }
  return value;
}

function list(name: string, value: unknown): unknown[] {
  if (!Array.isArray(value)) {
    throw new Malformed(`${name} must be a list`);
  }
  return value;
}

/** A number that JSON keeps exactly, or a larger one as text. */
function amountOf(name: string, value: unknown): AmountLike {
  if (isCount(value)) {
    return value;
  }
  if (typeof value === "string" && /^\d{1,20}$/.test(value)) {
    return BigInt(value);
  }
  throw new Malformed(`${name} must be a whole number; above 2^53 as a text of digits`);
}

function capOf(name: string, value: unknown): SpendCap {
  const fields = Fields.of(value, name);
  const per = fields.text("per");
  const { amount } = fields.amount("amount");
  const shadow = fields.flag("shadow");
  fields.end();
  if (per !== "day" && per !== "month" && per !== "lifetime") {
    throw new Malformed(`${name}.per must be "day", "month" or "lifetime"`);
  }
  if (amount === undefined) {
    throw new Malformed(`${name}.amount is missing`);
  }
  return { per, amount, ...(shadow === undefined ? {} : { shadow }) };
}
