// A burst in simulated time, on a fresh store: clients that send at a rate, each waiting for its
// answer.

import { Admin, MemoryStore, type Engine, type Ticket } from "tollgate";
import type { AccountForm, BurstForm, RequestForm, TokenForm } from "./model.js";
import * as parse from "./parse.js";

export interface BurstSetup {
  engine: Engine;
  accounts: readonly AccountForm[];
  tokens: readonly TokenForm[];
  request: RequestForm;
  burst: BurstForm;
  startMs: number;
}

/** What happened in one stretch of time. */
export interface Bucket {
  endMs: number;
  allowed: number;
  denied: number;
  /** As the last answer's headers said. */
  remaining: number | undefined;
  /** At its end. */
  balance: bigint | undefined;
  /** The most within it. */
  held: bigint | undefined;
  /** The least within it. */
  available: bigint | undefined;
}

export interface Burst {
  buckets: Bucket[];
  widthMs: number;
  limit: number | undefined;
  sent: number;
  allowed: number;
  /** How many of each code. */
  denied: Map<string, number>;
  firstDenialMs: number | undefined;
  posted: bigint;
  /** Sends that the time was too short for, because every client was waiting. */
  late: number;
}

const MAX_REQUESTS = 20_000;
const MAX_BUCKETS = 60;
const WIDTHS_MS = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000];
const PAUSE_EVERY = 500;

interface Client {
  index: number;
  /** Number of its next request, among all. */
  next: number;
  freeMs: number;
  ticket: Ticket | undefined;
}

interface Plan {
  rate: number;
  lengthMs: number;
  clients: number;
  answerMs: number;
  total: number;
}

function plan(form: BurstForm): Plan {
  const { whole } = parse;
  const rate = whole("Requests per second", form.rate, 1, 1000);
  const seconds = whole("Seconds", form.seconds, 1, 86_400);
  const clients = whole("Parallel clients", form.clients, 1, 64);
  const answerMs = whole("Answer after, in ms", form.answerMs, 0, 600_000);
  const total = rate * seconds;
  if (total > MAX_REQUESTS) {
    throw new parse.FieldError(`That is ${total} requests; ${MAX_REQUESTS} are the most`);
  }
  return { rate, lengthMs: seconds * 1000, clients, answerMs, total };
}

export async function runBurst(
  setup: BurstSetup,
  progress: (done: number) => void,
): Promise<Burst> {
  const plans = plan(setup.burst);
  const store = new MemoryStore();
  try {
    return await new Simulation(setup, plans, store).run(progress);
  } finally {
    store.free();
  }
}

class Simulation {
  #setup: BurstSetup;
  #plan: Plan;
  #store: MemoryStore;
  #admin: Admin;
  #account: string | undefined;
  #clients: Client[];
  /** When the last stretch ends. */
  #endMs: number;
  #bucket: Bucket;
  #result: Burst;

  constructor(setup: BurstSetup, plans: Plan, store: MemoryStore) {
    this.#setup = setup;
    this.#plan = plans;
    this.#store = store;
    this.#admin = new Admin(setup.engine, store);
    const owner = setup.tokens.find(({ token }) => token === setup.request.token);
    this.#account = owner?.account;
    this.#clients = Array.from({ length: plans.clients }, (_, index) => {
      return { index, next: index, freeMs: 0, ticket: undefined };
    });
    const least = plans.lengthMs / MAX_BUCKETS;
    const widthMs = WIDTHS_MS.find((width) => width >= least) ?? Math.ceil(least);
    this.#endMs = Math.ceil(plans.lengthMs / widthMs) * widthMs;
    this.#result = {
      buckets: [],
      widthMs,
      limit: undefined,
      sent: 0,
      allowed: 0,
      denied: new Map(),
      firstDenialMs: undefined,
      posted: 0n,
      late: 0,
    };
    this.#bucket = this.#emptyBucket(widthMs);
  }

  async run(progress: (done: number) => void): Promise<Burst> {
    for (const account of this.#setup.accounts) {
      await this.#admin.putAccount(parse.account(account), this.#setup.startMs);
    }
    for (const token of this.#setup.tokens) {
      await this.#admin.putToken(parse.token(token), this.#setup.startMs);
    }
    let events = 0;
    for (let due = this.#due(); due !== undefined; due = this.#due()) {
      await this.#closeBuckets(due.atMs);
      if (due.client.ticket !== undefined) this.#finish(due.client, due.atMs);
      else await this.#send(due.client, due.atMs);
      events += 1;
      if (events % PAUSE_EVERY > 0) continue;
      progress(this.#result.sent);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await this.#closeBuckets(this.#endMs);
    await this.#wallet(this.#endMs + this.#plan.answerMs);
    return this.#result;
  }

  /** The next that any client does: the earliest, and of these the end of a request first. */
  #due(): { client: Client; atMs: number } | undefined {
    let best: { client: Client; atMs: number } | undefined;
    for (const client of this.#clients) {
      const atMs = this.#dueOf(client);
      if (atMs === undefined) continue;
      const isSooner = best === undefined || atMs < best.atMs;
      const ends = atMs === best?.atMs && client.ticket !== undefined;
      if (isSooner || (ends && best?.client.ticket === undefined)) best = { client, atMs };
    }
    return best;
  }

  #dueOf(client: Client): number | undefined {
    if (client.ticket !== undefined) return client.freeMs;
    if (client.next >= this.#plan.total) return undefined;
    const scheduledMs = Math.floor((client.next * 1000) / this.#plan.rate);
    const atMs = Math.max(scheduledMs, client.freeMs);
    if (atMs < this.#plan.lengthMs) return atMs;
    this.#result.late += Math.ceil((this.#plan.total - client.next) / this.#plan.clients);
    client.next = this.#plan.total;
    return undefined;
  }

  async #send(client: Client, atMs: number): Promise<void> {
    const { request, burst, engine, startMs } = this.#setup;
    const key = request.key === "" ? "" : `${request.key}-${client.next}`;
    const cost = burst.cost.trim() === "" ? request.cost : burst.cost;
    const form = { ...request, key, cost, peek: false };
    const decision = engine.decide(this.#store, parse.request(form, startMs + atMs));
    const result = this.#result;
    client.next += this.#plan.clients;
    result.sent += 1;
    this.#limits(decision.headers);
    if (decision.verdict === "deny") {
      const code = decision.code ?? String(decision.status);
      result.denied.set(code, (result.denied.get(code) ?? 0) + 1);
      result.firstDenialMs ??= atMs;
      this.#bucket.denied += 1;
      return;
    }
    result.allowed += 1;
    this.#bucket.allowed += 1;
    client.ticket = decision.ticket;
    client.freeMs = atMs + this.#plan.answerMs;
    await this.#wallet(atMs);
  }

  #limits(headers: readonly (readonly [string, string])[]): void {
    const read = (wanted: string): number | undefined => {
      const found = headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
      return found === undefined ? undefined : Number(found);
    };
    this.#bucket.remaining = read("x-ratelimit-remaining") ?? this.#bucket.remaining;
    this.#result.limit ??= read("x-ratelimit-limit");
  }

  #finish(client: Client, atMs: number): void {
    const ticket = client.ticket;
    client.ticket = undefined;
    if (ticket === undefined) return;
    const response = { status: 200, headers: [], body: "" };
    const outcome = { kind: "settle", response } as const;
    this.#setup.engine.finish(this.#store, ticket, outcome, this.#setup.startMs + atMs);
  }

  #emptyBucket(endMs: number): Bucket {
    const remaining = this.#result.buckets.at(-1)?.remaining;
    const money = { balance: undefined, held: undefined, available: undefined };
    return { endMs, allowed: 0, denied: 0, remaining, ...money };
  }

  /** Ends the stretches that are over at this time. */
  async #closeBuckets(atMs: number): Promise<void> {
    while (this.#bucket.endMs <= Math.min(atMs, this.#endMs)) {
      await this.#wallet(this.#bucket.endMs);
      this.#result.buckets.push(this.#bucket);
      this.#bucket = this.#emptyBucket(this.#bucket.endMs + this.#result.widthMs);
    }
  }

  async #wallet(atMs: number): Promise<void> {
    if (this.#account === undefined) return;
    const view = await this.#admin.account(this.#account, this.#setup.startMs + atMs);
    const { held = 0n, available = view.available } = this.#bucket;
    this.#bucket.balance = view.balance;
    this.#bucket.held = view.held > held ? view.held : held;
    this.#bucket.available = view.available < available ? view.available : available;
    this.#result.posted = view.posted;
  }
}
