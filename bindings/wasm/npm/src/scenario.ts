// The steps of scenarios, through this package: what vectors, the playground and tests of hosts run on.

import { Admin } from "./admin.js";
import { Engine } from "./engine.js";
import { PolicyError, RequestError } from "./errors.js";
import { mergePatch } from "./merge.js";
import { MemoryStore } from "./stores.js";
import type { AmountLike, Decision, Outcome, SpendCap, Store, Ticket, TollgateRequest, TraceStep } from "./types.js";

export { mergePatch } from "./merge.js";

/** A step, or its reply: JSON, in which numbers above 2^53 - 1 are strings of digits. */
export type Json = { [member: string]: unknown };

/** Options of a {@link Session}. */
export interface SessionOptions {
  /** Gives an empty store, for each `policy` step; in memory if absent. */
  store?: () => Store | MemoryStore | Promise<Store | MemoryStore>;
  /** Opens the store again after a `restart` step; absent: it is empty then. */
  reopen?: (store: Store | MemoryStore) => Store | MemoryStore | Promise<Store | MemoryStore>;
}

interface Asked {
  decision: Decision;
  /** Why there is nothing to finish. */
  over: string | undefined;
}

/** Performs the steps of scenarios. Several may be under way at once. */
export class Session {
  private readonly options: SessionOptions;
  private engine: Engine | undefined;
  private store: Store | MemoryStore | undefined;
  private requests = new Map<string, Asked>();
  private latestMs = 0n;

  constructor(options: SessionOptions = {}) {
    this.options = options;
  }

  /** Performs a step and gives its reply; one that fails replies `{ error }`. */
  async step(step: Json): Promise<Json> {
    try {
      const givenMs = step["now_ms"] === undefined ? undefined : whole(step["now_ms"], "now_ms");
      const reply = await this.perform(step, givenMs ?? this.latestMs);
      if (givenMs !== undefined && givenMs <= MAX_NOW_MS && givenMs > this.latestMs) this.latestMs = givenMs;
      return reply;
    } catch (error) {
      return { error: errorText(error) };
    }
  }

  /** The reply that a `request` step would get now, and the checks; nothing is consumed. */
  async explain(step: Json): Promise<Json & { steps?: TraceStep[] }> {
    try {
      const { engine, store } = this.started();
      const { decision, steps } = await engine.explainAsync(store, request(step));
      return { reply: toReply(step["id"], decision), steps };
    } catch (error) {
      return { error: errorText(error) };
    }
  }

  /** The decision on a request so far. */
  decision(id: string): Decision | undefined {
    return this.requests.get(id)?.decision;
  }

  private started(): { engine: Engine; store: Store | MemoryStore; admin: Admin } {
    const { engine, store } = this;
    if (engine === undefined || store === undefined) throw new RequestError("begin with a `policy` step");
    return { engine, store, admin: new Admin(engine, store) };
  }

  private async perform(step: Json, nowMs: bigint): Promise<Json> {
    checkFields(step);
    switch (step["op"]) {
      case "policy": {
        const engine = policy(step);
        this.store = await (this.options.store?.() ?? new MemoryStore());
        this.engine = engine;
        this.requests = new Map();
        this.latestMs = 0n;
        return {};
      }
      case "reload":
        this.started().engine.reload(policy(step).policy);
        return {};
      case "account": {
        const { id, balance, networks, spend_caps: spendCaps, senders } = step;
        await this.started().admin.putAccount({ id, ...amounts({ balance }), networks, spendCaps: caps(spendCaps), senders } as never, nowMs);
        return {};
      }
      case "token": {
        const { token, account, scopes, networks, quota, spend_caps: spendCaps, expires_ms: expiresMs } = step;
        const settings = { token, account, scopes, networks, quota: ownQuota(quota), spendCaps: caps(spendCaps), ...amounts({ expiresMs }) };
        await this.started().admin.putToken(settings as never, nowMs);
        return {};
      }
      case "rotate":
        await this.started().admin.rotateToken(text(step, "token"), text(step, "new_token"), whole(step["grace_ms"], "grace_ms"), nowMs);
        return {};
      case "revoke":
        await this.started().admin.revokeToken(text(step, "token"), nowMs);
        return {};
      case "deposit":
        await this.started().admin.deposit(text(step, "account"), whole(step["amount"], "amount"), nowMs);
        return {};
      case "request":
        return this.request(step);
      case "finish":
        return this.finish(step);
      case "resolve":
        return this.resolve(step, nowMs);
      case "refund": {
        const { account, ticket } = this.unsettled(text(step, "id"));
        await this.started().admin.refund(account, ticket.reservation, whole(step["amount"], "amount"), text(step, "ref"), nowMs);
        return {};
      }
      case "inspect": {
        const { balance, held, available, posted, reservations } = await this.started().admin.account(text(step, "account"), nowMs);
        return plain({ balance, held, available, posted, reservations });
      }
      case "expire":
        return plain({ expired: await this.started().admin.expire(nowMs) });
      case "parallel":
        return this.parallel(step, nowMs);
      case "restart": {
        const { store } = this.started();
        if (this.options.reopen === undefined) {
          this.requests = new Map();
          this.store = await (this.options.store?.() ?? new MemoryStore());
        } else {
          this.store = await this.options.reopen(store);
        }
        return {};
      }
      default:
        return {}; // not reached: the fields of every op are known
    }
  }

  private async request(step: Json): Promise<Json> {
    const { engine, store } = this.started();
    const id = text(step, "id");
    const decision = await engine.decideAsync(store, request(step));
    const over = { allow: step["peek"] === true ? "was only a peek" : undefined, deny: "was denied", replay: "was replayed" };
    this.requests.set(id, { decision, over: over[decision.verdict] });
    return toReply(id, decision);
  }

  private allowed(id: string): Decision {
    const asked = this.requests.get(id);
    if (asked === undefined) throw new RequestError(`there is no request \`${id}\`; send it first`);
    if (asked.over === undefined) return asked.decision;
    throw new RequestError(`request \`${id}\` ${asked.over}: there is nothing to finish, resolve or refund`);
  }

  private unsettled(id: string): { account: string; ticket: Ticket } {
    const { account, ticket } = this.allowed(id);
    if (account === undefined || ticket === undefined) throw new RequestError(`request \`${id}\` reserved nothing and claimed no key`);
    return { account, ticket };
  }

  private async finish(step: Json): Promise<Json> {
    const { engine, store } = this.started();
    const id = text(step, "id");
    const decision = this.allowed(id);
    const outcome = ending(step);
    const { ticket, headers } = decision;
    if (ticket === undefined) {
      if ((whole(step["amount"] ?? 0, "amount")) > 0n) throw new RequestError(`request \`${id}\` reserved nothing; finish it without an amount`);
      return { id, headers };
    }
    const settled = await engine.finishAsync(store, ticket, outcome, whole(step["now_ms"], "now_ms"));
    return plain({ id, headers, settled });
  }

  private async resolve(step: Json, nowMs: bigint): Promise<Json> {
    const id = text(step, "id");
    const { account, ticket } = this.unsettled(id);
    return plain({ id, settled: await this.started().admin.resolve(account, ticket.reservation, ending(step), nowMs) });
  }

  private async parallel(step: Json, nowMs: bigint): Promise<Json> {
    const steps = step["steps"];
    if (!Array.isArray(steps)) throw new RequestError("parallel: `steps` is a list");
    for (const inner of steps as Json[]) {
      checkFields(inner);
      if (["policy", "restart", "parallel"].includes(String(inner["op"]))) {
        throw new RequestError("a `parallel` step cannot hold `policy`, `restart` or another `parallel`");
      }
    }
    const lanes = Math.min(Number(whole(step["threads"], "threads")), steps.length);
    if (lanes < 1 && steps.length > 0) throw new RequestError("parallel: `threads` is 1 to 256");
    const replies: Json[] = [];
    const lane = async (first: number): Promise<void> => {
      for (let index = first; index < steps.length; index += lanes) {
        const inner = steps[index] as Json;
        replies[index] = await this.step(inner["now_ms"] === undefined ? { ...inner, now_ms: nowMs } : inner);
      }
    };
    await Promise.all(Array.from({ length: lanes }, (_, first) => lane(first)));
    return { replies };
  }
}

/** The fields of each step; those with a `?` may be left out. `op`, `note`, `expect` go with any. */
const FIELDS: { [op: string]: string } = {
  policy: "policy? preset? patch?",
  reload: "policy? preset? patch?",
  account: "id balance? networks? spend_caps? senders? now_ms?",
  token: "token account scopes networks? quota? spend_caps? expires_ms? now_ms?",
  rotate: "token new_token grace_ms now_ms?",
  revoke: "token now_ms?",
  deposit: "account amount now_ms?",
  request: "id now_ms method target headers peer body? cost? sender? invalid? peek?",
  finish: "id now_ms outcome amount? response?",
  resolve: "id outcome amount? response? now_ms?",
  refund: "id amount ref now_ms?",
  inspect: "account now_ms?",
  expire: "now_ms",
  parallel: "threads steps now_ms?",
  restart: "now_ms?",
};

function checkFields(step: Json): void {
  const op = String(step["op"]);
  const fields = FIELDS[op]?.split(" ");
  if (fields === undefined) throw new RequestError(`there is no op \`${op}\`; there are ${Object.keys(FIELDS).join(", ")}`);
  const names = fields.map((field) => field.replace("?", ""));
  const missing = fields.find((field) => !field.endsWith("?") && step[field] === undefined);
  if (missing !== undefined) throw new RequestError(`${op}: missing field \`${missing}\``);
  const unknown = Object.keys(step).find((name) => !names.includes(name) && !["op", "note", "expect"].includes(name));
  if (unknown !== undefined) throw new RequestError(`${op}: unknown field \`${unknown}\`, expected one of ${names.join(", ")}`);
}

/** Reads steps from JSON. Numbers above 2^53 - 1 become bigints where the platform can tell (Node 22, browsers of 2023 on). */
export function parse(text: string): unknown {
  const revive = (_: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    const isLarge = typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && /^[0-9]+$/.test(source);
    return isLarge ? BigInt(source) : value;
  };
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown) as unknown;
}

/** The latest time that the engine takes: the year 2527. */
const MAX_NOW_MS = (1n << 44n) - 1n;

function errorText(error: unknown): string {
  // A step's policy has no lines of its own.
  if (error instanceof PolicyError) {
    return error.errors.map(({ place, message }) => (place === "" ? message : `${place}: ${message}`)).join("\n");
  }
  return error instanceof Error ? error.message : String(error);
}

function whole(value: unknown, what: string): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === "string" && /^[0-9]{1,20}$/.test(value)) return BigInt(value);
  throw new RequestError(`\`${what}\` is a whole number; above 2^53 - 1 write it as a string of digits`);
}

function amounts(members: { [name: string]: unknown }): { [name: string]: AmountLike | null | undefined } {
  const read = Object.entries(members).map(([name, value]) => [name, value === undefined || value === null ? value : whole(value, name)]);
  return Object.fromEntries(read) as { [name: string]: AmountLike | null | undefined };
}

function text(step: Json, name: string): string {
  const value = step[name];
  if (typeof value === "string") return value;
  throw new RequestError(`${String(step["op"])}: \`${name}\` is a string`);
}

function policy(step: Json): Engine {
  const { policy, preset, patch } = step;
  if ((policy === undefined) === (preset === undefined)) throw new RequestError("give either `policy` or `preset`");
  const engine = preset === undefined ? new Engine(policy as string | object) : Engine.preset(text(step, "preset"));
  return patch === undefined ? engine : new Engine(mergePatch(engine.policy, patch) as object);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function caps(given: unknown): SpendCap[] | undefined {
  if (given === undefined || given === null) return undefined;
  return (given as Json[]).map((cap) => ({ ...(cap as unknown as SpendCap), amount: whole(cap["amount"], "amount") }));
}

function ownQuota(quota: unknown): unknown {
  if (quota === undefined || quota === null) return quota;
  const { limit, window_ms: windowMs } = quota as Json;
  return { limit: whole(limit, "limit"), windowMs: whole(windowMs, "window_ms") };
}

function request(step: Json): TollgateRequest {
  const { cost, headers, peer, body, sender, invalid, peek } = step;
  return {
    nowMs: whole(step["now_ms"], "now_ms"),
    method: text(step, "method"),
    target: text(step, "target"),
    headers: headers as [string, string][],
    peer: peer as string | null,
    body: (body ?? undefined) as string | undefined,
    cost: cost === undefined || cost === null ? undefined : whole(cost, "cost"),
    sender: (sender ?? undefined) as string | undefined,
    invalid: (invalid ?? undefined) as string | undefined,
    peek: peek === true,
  };
}

function ending(step: Json): Outcome {
  const { outcome, amount, response } = step;
  const given = (response ?? undefined) as { status: number; headers: [string, string][]; body: string | null } | undefined;
  const cost = amount === undefined || amount === null ? undefined : whole(amount, "amount");
  if (cost !== undefined && outcome !== "settle") throw new RequestError("`amount` goes with the outcome `settle` only");
  switch (outcome) {
    case "settle":
      return { kind: "settle", amount: cost, response: given };
    case "void":
      return { kind: "void", response: given };
    case "unknown":
      if (given !== undefined) throw new RequestError("`response` does not go with the outcome `unknown`");
      return { kind: "unknown" };
    default:
      throw new RequestError("`outcome` is settle, void or unknown");
  }
}

function toReply(id: unknown, decision: Decision): Json {
  const { verdict, status, code, headers, body, account, route, reserved } = decision;
  const reply = { id, verdict, status, code: code ?? null, body: new TextDecoder("utf-8", { ignoreBOM: true }).decode(body), headers };
  return plain({ ...reply, account, route, reserved });
}

/** Without what is absent; numbers of 64 bits as numbers where they fit, else as digits. */
function plain(reply: Json): Json {
  const members = Object.entries(reply).filter(([, value]) => value !== undefined);
  return Object.fromEntries(members.map(([name, value]) => [name, typeof value === "bigint" ? small(value) : value]));
}

function small(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
}

/** A part of a reply that is not as expected. */
export interface Mismatch {
  /** Where, as a dotted path within the reply; empty for the reply itself. */
  place: string;
  /** What was expected, in words or JSON. */
  expected: string;
  /** What was there; absent if nothing was. */
  actual?: unknown;
}

/** What of a step's reply is not as its `expect` says, and those of the steps within a `parallel` one. A step without `expect` must not fail. */
export function check(step: Json, reply: Json): Mismatch[] {
  const found: Mismatch[] = [];
  checkStep(step, reply, false, "", found);
  return found;
}

function checkStep(step: Json, reply: Json, mayFail: boolean, place: string, found: Mismatch[]): void {
  const expect = step["expect"];
  if (expect !== undefined) matchReply(expect, reply, place, found);
  else if (!mayFail && reply["error"] !== undefined) found.push({ place, expected: "no error", actual: reply });
  const steps = Array.isArray(step["steps"]) ? (step["steps"] as Json[]) : [];
  const replies = Array.isArray(reply["replies"]) ? (reply["replies"] as Json[]) : [];
  steps.slice(0, replies.length).forEach((inner, index) => {
    checkStep(inner, replies[index] as Json, expect !== undefined, `${within(place, "replies")}[${index}]`, found);
  });
}

function within(place: string, name: string): string {
  return place === "" ? name : `${place}.${name}`;
}

function matchReply(expect: unknown, reply: Json, place: string, found: Mismatch[]): void {
  if (!isObject(expect)) {
    found.push({ place, expected: "an `expect` that is an object", actual: expect });
    return;
  }
  if (reply["error"] !== undefined && expect["error"] === undefined) {
    found.push({ place, expected: JSON.stringify(expect), actual: reply });
    return;
  }
  for (const [name, expected] of Object.entries(expect)) {
    if (name === "error") matchError(expected, reply["error"], place, found);
    else if (name === "counts") matchCounts(expected, reply, place, found);
    else matchMember(name, expected, reply[name], place, found);
  }
}

function matchError(expected: unknown, error: unknown, place: string, found: Mismatch[]): void {
  const isAsExpected =
    typeof expected === "string" ? typeof error === "string" && error.includes(expected) : expected === (error !== undefined);
  if (!isAsExpected) found.push({ place: within(place, "error"), expected: JSON.stringify(expected), actual: error });
}

function matchMember(name: string, expected: unknown, actual: unknown, place: string, found: Mismatch[]): void {
  const at = within(place, name);
  if (name === "headers" && isObject(expected) && Array.isArray(actual)) {
    matchHeaders(expected, actual as [string, string][], at, found);
  } else if (name === "body" && typeof expected === "object" && expected !== null && typeof actual === "string") {
    let body: unknown;
    try {
      body = JSON.parse(actual);
    } catch {
      found.push({ place: at, expected: `JSON like ${JSON.stringify(expected)}`, actual });
      return;
    }
    matchValue(expected, body, at, found);
  } else if (name === "replies" && Array.isArray(expected) && Array.isArray(actual) && expected.length === actual.length) {
    expected.forEach((one: unknown, index) => matchReply(one, actual[index] as Json, `${at}[${index}]`, found));
  } else {
    matchValue(expected, actual, at, found);
  }
}

function matchValue(expected: unknown, actual: unknown, place: string, found: Mismatch[]): void {
  if (expected === null && (actual === undefined || actual === null)) return;
  if (isObject(expected) && isObject(actual)) {
    for (const [name, value] of Object.entries(expected)) matchMember(name, value, actual[name], place, found);
  } else if (Array.isArray(expected) && Array.isArray(actual) && expected.length === actual.length) {
    expected.forEach((value: unknown, index) => matchValue(value, actual[index], `${place}[${index}]`, found));
  } else if (expected !== actual && String(expected) !== (typeof actual === "string" && typeof expected === "number" ? actual : undefined)) {
    found.push({ place, expected: JSON.stringify(expected), actual });
  }
}

function matchHeaders(expected: Json, actual: readonly [string, string][], place: string, found: Mismatch[]): void {
  for (const [name, want] of Object.entries(expected)) {
    const values = actual.filter(([known]) => known.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
    const all = want === null ? [] : Array.isArray(want) ? (want as unknown[]) : [want];
    if (all.length === values.length && all.every((value, index) => value === values[index])) continue;
    const seen = values.length === 1 ? values[0] : values.length === 0 ? undefined : values;
    found.push({ place: within(place, name), expected: want === null ? "none" : JSON.stringify(want), actual: seen });
  }
}

function matchCounts(expected: unknown, reply: Json, place: string, found: Mismatch[]): void {
  const at = within(place, "counts");
  const replies = reply["replies"];
  if (!Array.isArray(replies) || !isObject(expected)) {
    found.push({ place: at, expected: "numbers by verdict or code, of a reply with `replies`", actual: reply });
    return;
  }
  for (const [name, bounds] of Object.entries(expected)) {
    const isCounted = (one: Json) => one["verdict"] === name || one["code"] === name || (name === "error" && one["error"] !== undefined);
    const count = (replies as Json[]).filter(isCounted).length;
    if (!holds(bounds, count)) found.push({ place: within(at, name), expected: JSON.stringify(bounds), actual: count });
  }
}

function holds(bounds: unknown, count: number): boolean {
  if (!isObject(bounds)) return bounds === count;
  return Object.entries(bounds).every(([name, bound]) => (name === "min" && count >= Number(bound)) || (name === "max" && count <= Number(bound)));
}
