import { RequestError, errorOf } from "./errors.js";
import { readDecision, writeEnding, writeRequest } from "./flat.js";
import { call, inputView, raw, type RawEngine } from "./raw.js";
import { mergePatch } from "./merge.js";
import { presets } from "./presets.js";
import { callerOf, run } from "./remote.js";
import { MemoryStore } from "./stores.js";
import type {
  AmountLike, Decision, Explanation, Outcome, Policy, PolicyProblem, Store, Ticket, TollgateRequest, TraceStep,
} from "./types.js";

/** Options of an {@link Engine}. */
export interface EngineOptions {
  /** At least 16 bytes: digests of tokens become HMAC-SHA-256 under this key. It must stay the same for as long as the tokens. */
  pepper?: Uint8Array;
}

/** Decides requests under one policy. It holds no state, which is in a store. */
export class Engine {
  /** @internal */
  readonly raw: RawEngine;
  /** @internal */
  headerNames: ReadonlySet<string>;
  /** @internal */
  readonly codes: ReadonlyMap<number, string>;
  private text: string;

  /** Throws {@link PolicyError} when the policy does not compile. */
  constructor(policy: Policy, options: EngineOptions = {}) {
    const text = (this.text = policyText(policy));
    this.raw = call(() => new (raw().RawEngine)(text, options.pepper));
    this.codes = new Map(JSON.parse(call(() => raw().statusCodes())) as [number, string][]);
    this.headerNames = this.readHeaderNames();
  }

  /** An engine for a preset, with a merge patch (RFC 7396) on it. */
  static preset(name: string, patch: object = {}, options: EngineOptions = {}): Engine {
    const preset = Object.hasOwn(presets, name) ? presets[name] : undefined;
    if (preset === undefined) {
      throw new RequestError(`there is no preset \`${name}\`; there are ${Object.keys(presets).join(", ")}`);
    }
    return new Engine(mergePatch(preset, patch) as object, options);
  }

  /** Replaces the policy. One that does not compile changes nothing. What began under the old one ends under it. */
  reload(policy: Policy): void {
    const text = policyText(policy);
    call(() => this.raw.reload(text));
    this.text = text;
    this.headerNames = this.readHeaderNames();
  }

  /** What is valid in the policy, and probably not meant. */
  lint(): PolicyProblem[] {
    return JSON.parse(call(() => this.raw.lint())) as PolicyProblem[];
  }

  /** The policy in force, as it was given; a preset has every field. */
  get policy(): object {
    return JSON.parse(this.text) as object;
  }

  /** Decides a request. */
  decide(store: MemoryStore, request: TollgateRequest): Decision {
    const flat = new FlatCalls(this, store);
    flat.decide(flat.encode(request));
    return flat.answer();
  }

  /** Decides a request without consuming anything, and tells what every check saw. */
  explain(store: MemoryStore, request: TollgateRequest): Explanation {
    const length = writeRequest(request, this.headerNames);
    return this.explanation(call(() => this.raw.explain(store.raw, length)));
  }

  /**
   * Finishes a request that was allowed with a ticket; gives what was posted, or nothing while that is unknown.
   *
   * Throws {@link RefusedError} when the store refuses: the first outcome, or the expiry rule's, stays. Throws {@link StoreError} when it
   * fails: to give the same outcome again is safe.
   */
  finish(store: MemoryStore, ticket: Ticket, outcome: Outcome, nowMs: AmountLike): bigint | undefined {
    const length = writeEnding(ticket, outcome, nowMs);
    return call(() => this.raw.finish(store.raw, length));
  }

  /** {@link decide} on a store elsewhere. */
  async decideAsync(store: Store | MemoryStore, request: TollgateRequest): Promise<Decision> {
    if (store instanceof MemoryStore) return this.decide(store, request);
    const caller = callerOf(store);
    const begin = () => raw().RawOperation.decide(this.raw, caller, writeRequest(request, this.headerNames));
    return run(store, begin, (operation) => {
      operation.decided();
      return readDecision(this.codes);
    });
  }

  /** {@link explain} on a store elsewhere. */
  async explainAsync(store: Store | MemoryStore, request: TollgateRequest): Promise<Explanation> {
    if (store instanceof MemoryStore) return this.explain(store, request);
    const caller = callerOf(store);
    const begin = () => raw().RawOperation.explain(this.raw, caller, writeRequest(request, this.headerNames));
    return run(store, begin, (operation) => this.explanation(operation.decided()));
  }

  /** {@link finish} on a store elsewhere. */
  async finishAsync(store: Store | MemoryStore, ticket: Ticket, outcome: Outcome, nowMs: AmountLike): Promise<bigint | undefined> {
    if (store instanceof MemoryStore) return this.finish(store, ticket, outcome, nowMs);
    const caller = callerOf(store);
    const begin = () => raw().RawOperation.finish(caller, writeEnding(ticket, outcome, nowMs));
    return run(store, begin, (operation) => operation.posted());
  }

  /** Gives its memory back at once, instead of when it is collected. */
  free(): void {
    this.raw.free();
  }

  private readHeaderNames(): ReadonlySet<string> {
    return new Set(JSON.parse(call(() => this.raw.headerNames())) as string[]);
  }

  private explanation(json: string): Explanation {
    const { steps } = JSON.parse(json) as { steps: TraceStep[] };
    return { decision: readDecision(this.codes), steps };
  }
}

/**
 * Decisions through flat bytes, for hosts that count nanoseconds: `decide` gives a number and formats nothing, and `answer` tells the
 * rest of the latest one, if it is wanted.
 */
export class FlatCalls {
  constructor(
    private readonly engine: Engine,
    private readonly store: MemoryStore,
  ) {}

  /** Writes a request as flat bytes; gives how many. */
  encode(request: TollgateRequest): number {
    return writeRequest(request, this.engine.headerNames);
  }

  /**
   * Where to write the bytes of a request, for a host that does so itself: at least `length` of them, until the next call of the package.
   * Writing beyond them is without effect.
   */
  reserve(length: number): Uint8Array {
    return inputView(length);
  }

  /** Decides the request in the first `length` bytes. Gives `number of the status × 4 + verdict`; verdict 0 allow, 1 deny, 2 replay. */
  decide(length: number): number {
    let code: number;
    try {
      code = this.engine.raw.decide(this.store.raw, length);
    } catch (thrown) {
      return call(() => {
        throw thrown;
      });
    }
    if (code < 0) throw errorOf(this.engine.raw.failure());
    return code;
  }

  /** All that is to be told of the latest decision of this engine. */
  answer(): Decision {
    const length = call(() => this.engine.raw.answer(this.store.raw));
    if (length === 0) throw new RequestError("nothing was decided yet");
    return readDecision(this.engine.codes);
  }
}

function policyText(policy: Policy): string {
  if (typeof policy === "string") return policy;
  if (typeof policy !== "object" || policy === null) throw new RequestError("a policy is JSON text or an object");
  return JSON.stringify(policy, (key, value: unknown) => {
    if (typeof value === "bigint") throw new RequestError(`${key} is a bigint, which JSON has not: give the policy as text`);
    return value;
  });
}
