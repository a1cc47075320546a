// The engine, its store and its clock: all that happens in the page happens here.

import {
  Admin,
  Engine,
  MemoryStore,
  PolicyError,
  RefusedError,
  RequestError,
  StoreError,
  type AccountView,
  type Decision,
  type Outcome,
  type PolicyProblem,
  type TraceStep,
} from "tollgate";
import { isJson } from "./locate.js";
import type { AccountForm, RequestForm, TokenForm } from "./model.js";
import * as parse from "./parse.js";
import { TextError, toPolicyJson } from "./policy-text.js";

export interface Problem {
  place: string;
  message: string;
  /** From 1; undefined when the compiler names none. */
  line: number | undefined;
}

export interface Ending {
  kind: Outcome["kind"];
  posted: bigint | undefined;
}

/** A request that was sent or explained. */
export interface Run {
  number: number;
  form: RequestForm;
  atMs: number;
  kind: "sent" | "explained";
  decision: Decision;
  steps: readonly TraceStep[];
  ending: Ending | undefined;
}

const MAX_RUNS = 50;

export class Desk {
  accounts: AccountForm[] = [];
  tokens: TokenForm[] = [];
  revoked = new Set<string>();
  runs: Run[] = [];
  clockMs = 0;
  /** The text that is in force. */
  policyText: string | undefined;

  #engine: Engine | undefined;
  #store = new MemoryStore();
  #sent = 0;
  #steps: object[] = [];
  #listeners: (() => void)[] = [];
  #ready: Promise<void> = Promise.resolve();
  /** Told what could not be set up, whenever accounts and tokens were. */
  onSetUp: (failed: string[]) => void = () => {};

  /** Calls this whenever something has changed. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Ends when the accounts and tokens that waited for a policy are set up. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  get engine(): Engine {
    if (this.#engine === undefined) {
      throw new parse.FieldError("No policy is in force yet: correct its text first");
    }
    return this.#engine;
  }

  get hasPolicy(): boolean {
    return this.#engine !== undefined;
  }

  /** What happened since the last start over, as steps of a scenario. */
  get steps(): readonly object[] {
    return this.#steps;
  }

  /** Names of the scopes of the policy in force. */
  get scopes(): string[] {
    const policy = this.#engine?.policy;
    const scopes = policy === undefined ? undefined : (policy as { scopes?: unknown }).scopes;
    return typeof scopes === "object" && scopes !== null ? Object.keys(scopes) : [];
  }

  /** Routes of the policy in force. */
  get routes(): string[] {
    const policy = this.#engine?.policy as { scopes?: Record<string, string[]> } | undefined;
    return [...new Set(Object.values(policy?.scopes ?? {}).flat())].sort();
  }

  /** Puts a policy in force; one that does not compile changes nothing. */
  compile(text: string): Problem[] {
    const isFirst = this.#engine === undefined;
    try {
      const json = toPolicyJson(text);
      if (this.#engine === undefined) this.#engine = new Engine(json);
      else this.#engine.reload(json);
    } catch (error) {
      if (error instanceof TextError) {
        return [{ place: "", message: error.message, line: error.line }];
      }
      if (!(error instanceof PolicyError)) throw error;
      // Lines are those of the JSON, which are the text's own only if that is what it is.
      const lines = isJson(text);
      return error.errors.map((found) => problem(found, lines));
    }
    if (isFirst) this.#ready = this.startOver(this.accounts, this.tokens);
    if (this.policyText !== text) this.#steps.push({ op: "reload", policy: this.engine.policy });
    this.policyText = text;
    this.#changed();
    return [];
  }

  lint(): Problem[] {
    const found = this.#engine?.lint() ?? [];
    return found.map((warning) => problem(warning, false));
  }

  /** Forgets all state, and sets up these accounts and tokens. */
  async startOver(accounts: AccountForm[], tokens: TokenForm[]): Promise<void> {
    this.#store.free();
    this.#store = new MemoryStore();
    this.accounts = [];
    this.tokens = [];
    this.revoked.clear();
    this.runs = [];
    this.#sent = 0;
    this.#steps = this.hasPolicy ? [{ op: "policy", policy: this.engine.policy }] : [];
    const failed: string[] = [];
    const attempt = async (what: string, act: () => Promise<void>): Promise<void> => {
      try {
        await act();
      } catch (error) {
        failed.push(`${what}: ${explain(error)}`);
      }
    };
    if (this.hasPolicy) {
      for (const form of accounts) await attempt(form.id, () => this.putAccount(form));
      for (const form of tokens) await attempt(form.token, () => this.putToken(form));
    } else {
      this.accounts = accounts;
      this.tokens = tokens;
      failed.push("Accounts and tokens wait for a policy that compiles");
    }
    this.onSetUp(failed);
    this.#changed();
  }

  get #admin(): Admin {
    return new Admin(this.engine, this.#store);
  }

  async putAccount(form: AccountForm): Promise<void> {
    const settings = parse.account(form);
    await this.#admin.putAccount(settings, this.clockMs);
    put(this.accounts, { ...form, id: settings.id }, (row) => row.id === settings.id);
    const { spendCaps: spend_caps, ...rest } = settings;
    this.#steps.push({ op: "account", now_ms: this.clockMs, ...rest, spend_caps });
    this.#changed();
  }

  async putToken(form: TokenForm): Promise<void> {
    const settings = parse.token(form);
    await this.#admin.putToken(settings, this.clockMs);
    put(this.tokens, { ...form, token: settings.token }, (row) => row.token === settings.token);
    const { quota, spendCaps: spend_caps, expiresMs: expires_ms, ...rest } = settings;
    const own = quota === null ? null : { limit: quota.limit, window_ms: quota.windowMs };
    const step = { op: "token", now_ms: this.clockMs, ...rest, quota: own, spend_caps, expires_ms };
    this.#steps.push(step);
    this.#changed();
  }

  async revoke(token: string): Promise<void> {
    await this.#admin.revokeToken(token, this.clockMs);
    this.revoked.add(token);
    this.#steps.push({ op: "revoke", token, now_ms: this.clockMs });
    this.#changed();
  }

  async deposit(account: string, typed: string): Promise<void> {
    const amount = parse.amount("Deposit", typed);
    await this.#admin.deposit(account, amount, this.clockMs);
    this.#steps.push({ op: "deposit", account, amount, now_ms: this.clockMs });
    this.#changed();
  }

  async view(account: string): Promise<AccountView> {
    return this.#admin.account(account, this.clockMs);
  }

  /** Moves the clock, and ends what has become due, as a host's background sweep does. */
  async setClock(ms: number): Promise<bigint> {
    this.clockMs = ms;
    const ended = this.hasPolicy ? await this.#admin.expire(ms) : 0n;
    if (ended > 0n) this.#steps.push({ op: "expire", now_ms: ms });
    this.#changed();
    return ended;
  }

  /** Explains the request, and sends it unless it is only to be explained. */
  run(form: RequestForm, kind: Run["kind"]): Run {
    const request = parse.request(form, this.clockMs);
    const explanation = this.engine.explain(this.#store, request);
    const decision =
      kind === "explained" ? explanation.decision : this.engine.decide(this.#store, request);
    this.#sent += 1;
    const number = this.#sent;
    const atMs = this.clockMs;
    const steps = explanation.steps;
    const run: Run = { number, form: { ...form }, atMs, kind, decision, steps, ending: undefined };
    this.runs.unshift(run);
    this.runs.length = Math.min(this.runs.length, MAX_RUNS);
    if (kind === "sent") this.#steps.push(requestStep(run));
    this.#changed();
    return run;
  }

  finish(run: Run, form: parse.FinishForm): void {
    const ticket = run.decision.ticket;
    if (ticket === undefined) throw new parse.FieldError("This request leaves nothing to finish");
    const outcome = parse.outcome(form);
    const posted = this.engine.finish(this.#store, ticket, outcome, this.clockMs);
    run.ending = { kind: outcome.kind, posted };
    const { kind, ...rest } = outcome;
    const step = { op: "finish", id: `r${run.number}`, now_ms: this.clockMs, outcome: kind };
    this.#steps.push({ ...step, ...rest });
    this.#changed();
  }
}

function put<T>(rows: T[], row: T, same: (row: T) => boolean): void {
  const at = rows.findIndex(same);
  if (at < 0) rows.push(row);
  else rows[at] = row;
}

function problem(found: PolicyProblem, hasLines: boolean): Problem {
  const line = hasLines ? (found.line ?? undefined) : undefined;
  return { place: found.place, message: found.message, line };
}

function requestStep(run: Run): object {
  const { nowMs, ...request } = parse.request(run.form, run.atMs);
  const { verdict, status, code } = run.decision;
  const expect = { verdict, status, code: code ?? null };
  return { op: "request", id: `r${run.number}`, now_ms: nowMs, ...request, expect };
}

/** Whether this is an error that a user of the page can do something about. */
export function isExpected(error: unknown): boolean {
  const kinds = [parse.FieldError, PolicyError, RequestError, RefusedError, StoreError];
  return kinds.some((kind) => error instanceof kind);
}

export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
