// The whole cycle of a request: decide, answer or forward, capture, settle.

import { Engine, init } from "tollgate/objects";
import type { Decision, Policy } from "tollgate/objects";

import { administer } from "./admin.js";
import {
  addHeaders,
  answer,
  clientLeft,
  unavailable,
  upstreamFailed,
  upstreamTimeout,
} from "./answers.js";
import { settings } from "./options.js";
import type { Admitted, GatewayOptions, Settings, Upstream } from "./options.js";
import { decide, target } from "./request.js";
import { captured, passed } from "./response.js";
import { Open } from "./settlement.js";
import { ObjectsStore } from "./store.js";

/** Handles requests; what a Worker exports. */
export interface Gateway<Env> {
  fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response>;
}

/** A gateway in front of an HTTP API. Make it once, in the global scope. */
export function createGateway<Env>(options: GatewayOptions<Env>): Gateway<Env> {
  const all = settings(options);
  let engine: Promise<Engine> | undefined;
  let store: ObjectsStore | undefined;
  const engineOf = (env: Env): Promise<Engine> => {
    engine ??= open(all, env).catch((error: unknown) => {
      engine = undefined;
      throw error;
    });
    return engine;
  };
  return {
    async fetch(request, env, ctx) {
      try {
        const engine = await engineOf(env);
        store ??= new ObjectsStore(all.objects(env), all.store);
        const administered =
          all.admin === false
            ? undefined
            : await administer(all.admin ?? {}, request, env, engine, store, all.clock(request));
        return administered ?? (await new Handling(all, engine, store, request, env, ctx).run());
      } catch (error) {
        console.error({ event: "tollgate_failed", error: String(error) });
        return unavailable();
      }
    },
  };
}

async function open<Env>(options: Settings<Env>, env: Env): Promise<Engine> {
  await init();
  const policy: Policy =
    typeof options.policy === "function"
      ? (options.policy as (env: Env) => Policy)(env)
      : options.policy;
  const pepper = options.pepper?.(env);
  return new Engine(policy, pepper === undefined ? {} : { pepper });
}

/** One request. */
class Handling<Env> {
  readonly #options: Settings<Env>;
  readonly #engine: Engine;
  readonly #store: ObjectsStore;
  readonly #request: Request;
  readonly #env: Env;
  readonly #ctx: ExecutionContext;

  constructor(
    options: Settings<Env>,
    engine: Engine,
    store: ObjectsStore,
    request: Request,
    env: Env,
    ctx: ExecutionContext,
  ) {
    this.#options = options;
    this.#engine = engine;
    this.#store = store;
    this.#request = request;
    this.#env = env;
    this.#ctx = ctx;
  }

  /** What was begun is carried on when the client leaves. */
  run(): Promise<Response> {
    return new Promise((resolve, reject) => {
      const work = this.#handle(resolve).catch(reject);
      this.#ctx.waitUntil(work);
    });
  }

  async #handle(respond: (response: Response) => void): Promise<void> {
    const { decision, body } = await decide(
      this.#engine,
      this.#store,
      this.#options,
      this.#request,
    );
    if (decision.storeError !== undefined) {
      console.error({ event: "tollgate_store", error: decision.storeError });
    }
    if (decision.verdict !== "allow") {
      respond(answer(decision, this.#request.method));
      return;
    }
    const { ticket } = decision;
    if (ticket === undefined) {
      respond(await this.#pass(decision, body));
      return;
    }
    const open = new Open(
      {
        engine: this.#engine,
        store: this.#store,
        clock: () => this.#options.clock(this.#request),
        account: decision.account,
        onFinishError: this.#options.onFinishError,
      },
      ticket,
    );
    await this.#settled(open, decision, body, respond);
  }

  /** Forwards a request of which nothing must be settled. It is cancelled with its client. */
  async #pass(decision: Decision, body: ReadableStream | Uint8Array | null): Promise<Response> {
    const limit = new TimeLimit(this.#options.upstreamTimeoutMs);
    try {
      const response = await this.#call(this.#forwarded(decision, body), limit.signal);
      return passed(response, decision);
    } catch (error) {
      return this.#failed(error, limit, decision);
    } finally {
      limit.clear();
    }
  }

  async #settled(
    open: Open,
    decision: Decision,
    body: ReadableStream | Uint8Array | null,
    respond: (response: Response) => void,
  ): Promise<void> {
    const left = this.#request.signal;
    const limit = new TimeLimit(this.#options.upstreamTimeoutMs);
    let request: Request;
    try {
      request = this.#forwarded(decision, body);
    } catch (error) {
      await open.end("release");
      throw error;
    }
    if (left.aborted) {
      await open.end("release");
      respond(clientLeft());
      return;
    }
    const carryOn = (): void => limit.shorten(this.#options.carryOnMs);
    left.addEventListener("abort", carryOn);
    let response: Response;
    try {
      response = await this.#call(request, limit.signal);
    } catch (error) {
      await open.end(limit.reached ? "unknown" : this.#options.errorSettlement(error));
      respond(this.#failed(error, limit, decision));
      return;
    } finally {
      limit.clear();
      left.removeEventListener("abort", carryOn);
    }
    try {
      const handed = await captured(this.#options, this.#request, open, response, decision);
      respond(handed.response);
      await handed.done;
    } catch (error) {
      // A rule of the host's that failed: the upstream was asked.
      await open.end("unknown");
      throw error;
    }
  }

  #failed(error: unknown, limit: TimeLimit, decision: Decision): Response {
    if (!limit.reached) {
      console.error({ event: "tollgate_upstream", error: String(error) });
    }
    const response = limit.reached ? upstreamTimeout() : upstreamFailed();
    addHeaders(response.headers, decision);
    return response;
  }

  #forwarded(
    decision: Decision,
    body: ReadableStream | Uint8Array | null,
  ): Request {
    const request = this.#request;
    const upstream = this.#upstream();
    const url = isFetcher(upstream) ? request.url : resolved(upstream, request.url);
    const forwarded = new Request(url, {
      method: request.method,
      headers: request.headers,
      body,
    });
    const { account, route, reserved, ticket } = decision;
    const admitted: Admitted = {
      account,
      route,
      reserved: reserved ?? 0n,
      reservation: ticket?.reservation,
    };
    return this.#options.prepare?.(forwarded, admitted) ?? forwarded;
  }

  #call(request: Request, signal: AbortSignal): Promise<Response> {
    const upstream = this.#upstream();
    // What is kept and passed on are the upstream's own bytes, and its own redirections.
    const init: RequestInit = { redirect: "manual", encodeResponseBody: "manual", signal };
    return isFetcher(upstream) ? upstream.fetch(request, init) : fetch(request, init);
  }

  #upstream(): Upstream {
    const { upstream } = this.#options;
    return typeof upstream === "function"
      ? (upstream as (env: Env) => Upstream)(this.#env)
      : upstream;
  }
}

function isFetcher(upstream: Upstream): upstream is Pick<Fetcher, "fetch"> {
  return typeof upstream === "object" && !(upstream instanceof URL);
}

/** The upstream's origin and path, then the target: put together as text, so that no target changes the host. */
export function resolved(upstream: URL | string, url: string): string {
  const { origin, pathname } = new URL(upstream);
  return origin + pathname.replace(/\/$/, "") + target(url);
}

/** Aborts what takes too long. */
class TimeLimit {
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  reached = false;

  constructor(ms: number | undefined) {
    this.#set(ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  shorten(ms: number): void {
    this.clear();
    this.#set(ms);
  }

  clear(): void {
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
    }
  }

  #set(ms: number | undefined): void {
    if (ms !== undefined) {
      this.#timer = setTimeout(() => {
        this.reached = true;
        this.#controller.abort();
      }, ms);
    }
  }
}
