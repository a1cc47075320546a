// Administration over HTTP, for operators.

import { Admin, PolicyError, RefusedError, RequestError, StoreError, generateToken } from "tollgate/objects";
import type { Engine, Outcome, Store, TokenName, TollgateRequest } from "tollgate/objects";

import { Fields, Malformed, plain } from "./admin-json.js";

export interface AdminOptions<Env> {
  /** Where the API is. Default: `/-/tollgate`. No request below it is ever forwarded. */
  path?: string;
  /** The secret that operators send as their bearer token. Default: `env.TOLLGATE_ADMIN_TOKEN`. */
  token?: (env: Env) => string | undefined;
}

/** A shorter secret could be guessed. */
const SHORTEST_SECRET = 16;
const MOST_BODY = 1 << 20;

/** An answer that is not 200. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Answers what is below the API's path; `undefined` for all else. */
export async function administer<Env>(
  options: AdminOptions<Env>,
  request: Request,
  env: Env,
  engine: Engine,
  store: Store,
  nowMs: number,
): Promise<Response | undefined> {
  const url = new URL(request.url);
  const base = (options.path ?? "/-/tollgate").replace(/\/+$/, "");
  if (url.pathname !== base && !url.pathname.startsWith(`${base}/`)) {
    return undefined;
  }
  try {
    const secret = (options.token ?? secretOf)(env);
    await authenticate(secret, request);
    const api = new Api(engine, store, nowMs, request.method, url.searchParams);
    const segments = url.pathname.slice(base.length + 1).split("/").map(decoded);
    return answer(200, await api.call(segments, await bodyOf(request)));
  } catch (error) {
    return failed(error);
  }
}

function secretOf(env: unknown): string | undefined {
  if (typeof env !== "object" || env === null || !("TOLLGATE_ADMIN_TOKEN" in env)) {
    return undefined;
  }
  const { TOLLGATE_ADMIN_TOKEN: secret } = env;
  return typeof secret === "string" ? secret : undefined;
}

async function authenticate(secret: string | undefined, request: Request): Promise<void> {
  if (secret === undefined || secret.length < SHORTEST_SECRET) {
    throw new Refusal(
      404,
      "administration_off",
      `There is no administration API here until the secret TOLLGATE_ADMIN_TOKEN, of at least ${SHORTEST_SECRET} characters, is set.`,
    );
  }
  const given = /^Bearer +(.*\S) *$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
  // Digests have one length, so that comparing takes the same time for each.
  const [expected, told] = await Promise.all([digest(secret), digest(given)]);
  if (!crypto.subtle.timingSafeEqual(expected, told)) {
    throw new Refusal(401, "invalid_admin_token", "Send the administrator's secret as a bearer token.");
  }
}

function digest(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}

async function bodyOf(request: Request): Promise<Fields> {
  if (request.method === "GET" || request.method === "HEAD") {
    return new Fields({});
  }
  const text = await request.text();
  if (text.length > MOST_BODY) {
    throw new Refusal(413, "too_large", "The body is too long.");
  }
  return Fields.parse(text === "" ? "{}" : text);
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Refusal(400, "malformed", "The path has an escape that is none.");
  }
}

/** The calls, by method and path; README.md has the list. */
class Api {
  readonly #engine: Engine;
  readonly #store: Store;
  readonly #admin: Admin;
  readonly #nowMs: number;
  readonly #method: string;
  readonly #query: URLSearchParams;

  constructor(
    engine: Engine,
    store: Store,
    nowMs: number,
    method: string,
    query: URLSearchParams,
  ) {
    this.#engine = engine;
    this.#store = store;
    this.#admin = new Admin(engine, store);
    this.#nowMs = nowMs;
    this.#method = method;
    this.#query = query;
  }

  async call(path: readonly string[], body: Fields): Promise<object> {
    const [kind, name, part, number, action] = path;
    const answer = await (async () => {
      switch (`${this.#method} ${shape(path)}`) {
        case "GET accounts":
          return await this.#accounts();
        case "GET accounts/*":
          return await this.#admin.account(name ?? "", this.#nowMs);
        case "PUT accounts/*":
          return await this.#putAccount(name ?? "", body);
        case "POST accounts/*/deposits":
          return await this.#deposit(name ?? "", body);
        case "GET accounts/*/tokens":
          return { tokens: await this.#admin.tokens(name ?? "", this.#nowMs) };
        case "POST accounts/*/tokens":
          return await this.#putToken(name ?? "", body);
        case "GET accounts/*/reservations":
          return { reservations: await this.#admin.reservations(name ?? "", this.#nowMs) };
        case "POST accounts/*/reservations/*/resolve":
          return await this.#resolve(name ?? "", numbered(number), body);
        case "POST accounts/*/reservations/*/refund":
          return await this.#refund(name ?? "", numbered(number), body);
        case "POST tokens/rotate":
          return await this.#rotate(body);
        case "POST tokens/revoke":
          return await this.#revoke(body);
        case "POST expire":
          body.end();
          return { expired: await this.#admin.expire(this.#nowMs) };
        case "POST explain":
          return await this.#explain(body);
        default:
          return undefined;
      }
    })();
    if (answer === undefined) {
      const said = [kind, part, action].filter((text) => text !== undefined).join("/");
      throw new Refusal(404, "unknown_call", `There is no ${this.#method} of ${said} here; see the README.`);
    }
    return answer;
  }

  async #accounts(): Promise<object> {
    const after = this.#query.get("after");
    const atMost = this.#query.get("at_most");
    const options = {
      ...(after === null ? {} : { after }),
      ...(atMost === null ? {} : { atMost: counted(atMost) }),
    };
    return { accounts: await this.#admin.accounts(options, this.#nowMs) };
  }

  async #putAccount(id: string, body: Fields): Promise<object> {
    const account = {
      id,
      ...body.amount("balance"),
      ...body.texts("networks"),
      ...body.caps("spend_caps", "spendCaps"),
      ...body.texts("senders"),
    };
    body.end();
    await this.#admin.putAccount(account, this.#nowMs);
    return await this.#admin.account(id, this.#nowMs);
  }

  async #deposit(id: string, body: Fields): Promise<object> {
    const { amount } = body.amount("amount");
    body.end();
    await this.#admin.deposit(id, required("amount", amount), this.#nowMs);
    return await this.#admin.account(id, this.#nowMs);
  }

  /** A new token, or the settings of one whose text is given. The text is never told again. */
  async #putToken(account: string, body: Fields): Promise<object> {
    const given = body.text("token");
    const settings = {
      ...body.texts("scopes"),
      ...body.texts("networks"),
      ...body.quota("quota"),
      ...body.caps("spend_caps", "spendCaps"),
      ...body.time("expires_ms", "expiresMs"),
    };
    body.end();
    const token = given ?? generateToken();
    await this.#admin.putToken({ token, account, ...settings }, this.#nowMs);
    return given === undefined ? { token } : {};
  }

  async #rotate(body: Fields): Promise<object> {
    const old = tokenName(body);
    const graceMs = required("grace_ms", body.count("grace_ms"));
    const given = body.text("new_token");
    body.end();
    const token = given ?? generateToken();
    await this.#admin.rotateToken(old, token, graceMs, this.#nowMs);
    return given === undefined ? { token } : {};
  }

  async #revoke(body: Fields): Promise<object> {
    const token = tokenName(body);
    body.end();
    await this.#admin.revokeToken(token, this.#nowMs);
    return {};
  }

  async #resolve(account: string, reservation: bigint, body: Fields): Promise<object> {
    const outcome = outcomeOf(body);
    body.end();
    const posted = await this.#admin.resolve(account, reservation, outcome, this.#nowMs);
    return { posted: posted ?? null };
  }

  async #refund(account: string, reservation: bigint, body: Fields): Promise<object> {
    const amount = required("amount", body.amount("amount").amount);
    const reference = required("reference", body.text("reference"));
    body.end();
    await this.#admin.refund(account, reservation, amount, reference, this.#nowMs);
    return await this.#admin.account(account, this.#nowMs);
  }

  /** What a request would get, and why. It consumes nothing. */
  async #explain(body: Fields): Promise<object> {
    const cost = body.amount("cost");
    const request: TollgateRequest = {
      nowMs: this.#nowMs,
      method: required("method", body.text("method")),
      target: required("target", body.text("target")),
      headers: body.pairs("headers"),
      peer: body.text("peer") ?? null,
      body: body.text("body") ?? "",
      ...cost,
      ...optional("sender", body.text("sender")),
    };
    body.end();
    const { decision, steps } = await this.#engine.explainAsync(this.#store, request);
    const { verdict, status, code, account, route, reserved, retryAtMs } = decision;
    return { verdict, status, code, account, route, reserved, retryAtMs, steps };
  }
}

/** A path with `*` for what is a name or a number. */
function shape(path: readonly string[]): string {
  const named = path[0] === "accounts";
  return path.map((segment, at) => (named && (at === 1 || at === 3) ? "*" : segment)).join("/");
}

/** A token by its text, or by the digest that lists show. */
function tokenName(body: Fields): TokenName {
  const [token, digest] = [body.text("token"), body.text("digest")];
  if (digest !== undefined && token === undefined) {
    return { digest };
  }
  return required("token", token);
}

function numbered(text: string | undefined): bigint {
  if (text === undefined || !/^\d{1,19}$/.test(text)) {
    throw new Malformed("a reservation is a whole number");
  }
  return BigInt(text);
}

function counted(text: string): number {
  if (!/^\d{1,6}$/.test(text)) {
    throw new Malformed("at_most is a whole number");
  }
  return Number(text);
}

function required<T>(name: string, value: T | undefined): T {
  if (value === undefined) {
    throw new Malformed(`${name} is missing`);
  }
  return value;
}

function optional<N extends string>(name: N, value: string | undefined): { [K in N]?: string } {
  return value === undefined ? {} : ({ [name]: value } as { [K in N]?: string });
}

function outcomeOf(body: Fields): Outcome {
  const kind = required("outcome", body.text("outcome"));
  const amount = body.amount("amount");
  const response = body.response("response");
  switch (kind) {
    case "settle":
      return { kind, ...amount, ...response };
    case "void":
      return { kind, ...response };
    default:
      throw new Malformed('outcome is "settle" or "void"');
  }
}

function failed(error: unknown): Response {
  if (error instanceof Refusal) {
    const headers = error.status === 401 ? { "www-authenticate": "Bearer" } : {};
    return answer(error.status, { message: error.message, code: error.code }, headers);
  }
  if (error instanceof Malformed) {
    return answer(400, { message: error.message, code: "malformed" });
  }
  if (error instanceof RefusedError) {
    const status = error.code.startsWith("unknown_") ? 404 : 409;
    return answer(status, { message: error.message, code: error.code });
  }
  if (error instanceof RequestError || error instanceof PolicyError) {
    return answer(400, { message: error.message, code: error.code });
  }
  if (error instanceof StoreError) {
    // Nobody knows whether it was done: look before doing it again.
    console.error({ event: "tollgate_administration", error: error.message });
    return answer(503, { message: error.message, code: error.code });
  }
  console.error({ event: "tollgate_administration", error: String(error) });
  return answer(500, { message: "The administration failed; see the Worker's log.", code: "internal" });
}

function answer(status: number, value: object, extra: Record<string, string> = {}): Response {
  const headers = { "content-type": "application/json", "cache-control": "no-store", ...extra };
  return new Response(`${plain(value)}\n`, { status, headers });
}
