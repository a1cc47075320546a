// Scenarios over HTTP: requests go through the gateway, ends come from the upstream, the rest through the administration API.

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";

import type { Gateway, Received, Upstream } from "./harness.js";
import { SECRET } from "./harness.js";

export type Json = Record<string, unknown>;

/** A step that HTTP, or the platform, has no way to carry. */
export class NotCarried extends Error {}

interface Response {
  status: number;
  headers: [string, string][];
  body: string;
}

/** A request that waits at the upstream. */
interface Waiting {
  received: Received;
  upstream: ServerResponse;
  answer: Promise<Response>;
  hasKey: boolean;
  over: boolean;
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "TRACE"]);
const FRAMING = new Set(["host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"]);

/** The requests of all scenarios that reached the upstream, by their number. */
export class Arrivals {
  readonly #waiting = new Map<string, (arrived: [Received, ServerResponse]) => void>();

  constructor(upstream: Upstream) {
    upstream.answering = (received, response) => {
      const number = String(received.headers["x-test-id"]);
      this.#waiting.get(number)?.([received, response]);
      this.#waiting.delete(number);
    };
  }

  expect(number: string): Promise<[Received, ServerResponse]> {
    return new Promise((resolve) => this.#waiting.set(number, resolve));
  }
}

/** One scenario. */
export class Session {
  static #sessions = 0;
  static #numbers = 0;
  readonly #name = String(Session.#sessions++);
  readonly #gateway: Gateway;
  readonly #arrivals: Arrivals;
  #policies = 0;
  #latestMs = 0;
  #requests = new Map<string, Waiting | undefined>();

  constructor(gateway: Gateway, arrivals: Arrivals) {
    this.#gateway = gateway;
    this.#arrivals = arrivals;
  }

  /** Performs a step, and gives its reply. */
  async step(step: Json): Promise<Json> {
    const nowMs = step["now_ms"] ?? this.#latestMs;
    if (typeof nowMs !== "number") {
      throw new NotCarried("a time that is no number");
    }
    const reply = await this.#perform(step, nowMs);
    if (reply["error"] === undefined) {
      this.#latestMs = Math.max(this.#latestMs, nowMs);
    }
    return reply;
  }

  /** Lets go of what still waits. */
  end(): void {
    for (const waiting of this.#requests.values()) {
      waiting?.upstream.destroy();
    }
  }

  async #perform(step: Json, nowMs: number): Promise<Json> {
    const { op, note, expect, now_ms, ...fields } = step;
    switch (op) {
      case "policy":
      case "reload":
        return await this.#policy(op, fields);
      case "account":
        return await this.#admin("PUT", `accounts/${escaped(fields, "id")}`, without(fields, "id"), nowMs);
      case "token": {
        const path = `accounts/${escaped(fields, "account")}/tokens`;
        return await this.#admin("POST", path, without(fields, "account"), nowMs);
      }
      case "rotate":
        return await this.#admin("POST", "tokens/rotate", fields, nowMs);
      case "revoke":
        return await this.#admin("POST", "tokens/revoke", fields, nowMs);
      case "deposit": {
        const path = `accounts/${escaped(fields, "account")}/deposits`;
        return await this.#admin("POST", path, without(fields, "account"), nowMs);
      }
      case "inspect":
        return await this.#admin("GET", `accounts/${escaped(fields, "account")}`, undefined, nowMs);
      case "expire":
        return await this.#admin("POST", "expire", {}, nowMs);
      case "request":
        return await this.#request(step, nowMs);
      case "finish":
        return await this.#finish(step, nowMs);
      case "refund":
      case "resolve":
        return await this.#ofReservation(op, step, nowMs);
      case "parallel":
        return { replies: await Promise.all((step["steps"] as Json[]).map((one) => this.step(one))) };
      default:
        throw new NotCarried("the protocol of scenarios, and not of a gateway");
    }
  }

  async #policy(op: unknown, fields: Json): Promise<Json> {
    if (op === "policy") {
      this.end();
      this.#requests = new Map();
      this.#policies += 1;
      this.#latestMs = 0;
    }
    const headers = {
      "x-test-session": this.#name,
      "x-test-prefix": `${this.#name}/${this.#policies}/`,
    };
    const body = JSON.stringify(fields);
    return reply(await this.#gateway.ask("/-/policy", { method: "POST", headers, body }));
  }

  async #admin(method: string, path: string, body: Json | undefined, nowMs: number): Promise<Json> {
    const headers = {
      authorization: `Bearer ${SECRET}`,
      "x-test-session": this.#name,
      "x-test-now": String(nowMs),
    };
    const asking = body === undefined ? {} : { body: JSON.stringify(body) };
    return reply(await this.#gateway.ask(`/-/tollgate/${path}`, { method, headers, ...asking }));
  }

  async #request(step: Json, nowMs: number): Promise<Json> {
    const number = String(Session.#numbers++);
    const bytes = written(step, { session: this.#name, number, now: String(nowMs) });
    const id = String(step["id"]);
    const method = String(step["method"]);
    const arrival = this.#arrivals.expect(number);
    const answer = sent(this.#gateway.port, bytes, method);
    const first = await Promise.race([answer, arrival]);
    if (!Array.isArray(first)) {
      return { id, ...answered(first, method) };
    }
    const [received, upstream] = first;
    const told = (name: string) => received.headers[name] as string | undefined;
    const hasKey = received.headers["idempotency-key"] !== undefined;
    this.#requests.get(id)?.upstream.destroy();
    this.#requests.set(id, { received, upstream, answer, hasKey, over: false });
    const reserved = told("x-t-reserved");
    return {
      id,
      verdict: "allow",
      status: 200,
      code: null,
      body: "",
      account: told("x-t-account"),
      route: told("x-t-route"),
      ...(reserved === undefined ? {} : { reserved: Number(reserved) }),
    };
  }

  async #finish(step: Json, nowMs: number): Promise<Json> {
    const waiting = this.#waiting(step);
    if (waiting.over) {
      throw new NotCarried("over HTTP a request ends once");
    }
    if (nowMs !== Number(waiting.received.headers["x-test-now"])) {
      // The gateway's clock is a header of the request.
      throw new NotCarried("a request ends at the time of its beginning");
    }
    end(waiting, step);
    waiting.over = true;
    const { headers } = await waiting.answer;
    const settled = step["outcome"] === "unknown" ? {} : await this.#settled(waiting, nowMs);
    return { id: step["id"], headers, ...settled };
  }

  /** What a reservation came to, which no answer tells a client. */
  async #settled(waiting: Waiting, nowMs: number): Promise<Json> {
    const { "x-t-reservation": reservation, "x-t-account": account } = waiting.received.headers;
    if (reservation === undefined) {
      return {};
    }
    const path = `accounts/${encodeURIComponent(String(account))}/reservations`;
    const { reservations } = await this.#admin("GET", path, undefined, nowMs);
    const found = (reservations as Json[]).find(({ id }) => String(id) === reservation);
    return found === undefined ? {} : { settled: found["posted"] ?? 0 };
  }

  async #ofReservation(op: string, step: Json, nowMs: number): Promise<Json> {
    const { received } = this.#waiting(step);
    const { "x-t-reservation": reservation, "x-t-account": account } = received.headers;
    if (reservation === undefined) {
      throw new NotCarried("what reserved nothing has no number over HTTP");
    }
    const path = `accounts/${encodeURIComponent(String(account))}/reservations/${String(reservation)}/${op}`;
    const { amount, ref, outcome, response } = step;
    const body =
      op === "refund" ? { amount, reference: ref } : JSON.parse(JSON.stringify({ outcome, amount, response }));
    const told = await this.#admin("POST", path, body as Json, nowMs);
    if (told["error"] !== undefined || op === "refund") {
      return told["error"] === undefined ? {} : told;
    }
    return { id: step["id"], ...(told["posted"] === null ? {} : { settled: told["posted"] }) };
  }

  #waiting(step: Json): Waiting {
    const waiting = this.#requests.get(String(step["id"]));
    if (waiting === undefined) {
      throw new NotCarried("the protocol of scenarios, and not of a gateway");
    }
    return waiting;
  }
}

function escaped(fields: Json, name: string): string {
  const text = fields[name];
  if (typeof text !== "string" || text === "" || /^\.{1,2}$/.test(text)) {
    throw new NotCarried("a name that no path has");
  }
  return encodeURIComponent(text);
}

function without(fields: Json, name: string): Json {
  const { [name]: _, ...rest } = fields;
  return rest;
}

function reply(answer: { status: number; body: Buffer }): Json {
  const told = JSON.parse(answer.body.toString()) as Json;
  return answer.status === 200 ? told : { error: told["message"] };
}

interface Marks {
  session: string;
  number: string;
  now: string;
}

/** The request's bytes; or why HTTP, or workerd, cannot carry it. */
function written(step: Json, marks: Marks): Buffer {
  if (step["peek"] === true) {
    throw new NotCarried("HTTP has no peek");
  }
  const { method, target, headers, peer, cost, sender, invalid, body } = step as {
    method: string;
    target: string;
    headers: [string, string][];
    peer?: string | null;
    cost?: number;
    sender?: string;
    invalid?: string;
    body?: string | null;
  };
  if (!METHODS.has(method)) {
    throw new NotCarried("workerd knows a list of methods");
  }
  if (!target.startsWith("/") || /\s/.test(target)) {
    throw new NotCarried("a request line that would be another one");
  }
  if (/(^|\/)(\.|%2e)+(\/|$|\?)/i.test(target)) {
    throw new NotCarried("workerd resolves dot segments");
  }
  const lines: [string, string][] = [
    ["x-test-session", marks.session],
    ["x-test-id", marks.number],
    ["x-test-now", marks.now],
  ];
  const add = (name: string, value: string | undefined | null) => {
    if (value !== undefined && value !== null) {
      if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) {
        throw new NotCarried("a fact that is no header's value");
      }
      lines.push([name, value]);
    }
  };
  add("x-test-peer", peer === "" ? undefined : peer);
  add("x-test-cost", cost?.toString());
  add("x-test-sender", sender);
  add("x-test-invalid", invalid);
  for (const [name, value] of headers) {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || /[\r\n\0]/.test(value)) {
      throw new NotCarried("a header that would be another one, or the connection's");
    }
    if (FRAMING.has(name.toLowerCase())) {
      throw new NotCarried("a header that would be another one, or the connection's");
    }
    lines.push([name, value]);
  }
  const text = [method, target, ...headers.map(([, value]) => value)].join("");
  if (/[^\x00-\x7f]/.test(text)) {
    throw new NotCarried("workerd reads bytes as UTF-8");
  }
  const payload = Buffer.from(body ?? "");
  if (payload.length > 0) {
    lines.push(["content-length", String(payload.length)]);
  }
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const line = `${method} ${target} HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n`;
  return Buffer.concat([Buffer.from(`${line}${head}\r\n`, "latin1"), payload]);
}

/** Sends bytes, and reads what comes until the connection's end. */
async function sent(port: number, bytes: Buffer, method: string): Promise<Response> {
  const socket = connect(port, "127.0.0.1");
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  socket.on("error", () => undefined);
  socket.write(bytes);
  await once(socket, "close");
  const all = Buffer.concat(parts);
  const split = all.indexOf("\r\n\r\n");
  const [line = "", ...lines] = all.subarray(0, split).toString("latin1").split("\r\n");
  const headers = lines.map((text): [string, string] => {
    const colon = text.indexOf(":");
    return [text.slice(0, colon), text.slice(colon + 1).trim()];
  });
  const isChunked = headers.some(([name, value]) => /^transfer-encoding$/i.test(name) && value === "chunked");
  const rest = all.subarray(split + 4);
  const body = method === "HEAD" ? Buffer.alloc(0) : isChunked ? joinedChunks(rest) : rest;
  return { status: Number(line.split(" ")[1]), headers, body: body.toString() };
}

function joinedChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf("\r\n", at);
    const length = Number.parseInt(bytes.subarray(at, end).toString(), 16);
    if (end === -1 || !(length > 0)) {
      break;
    }
    parts.push(bytes.subarray(end + 2, end + 2 + length));
    at = end + 4 + length;
  }
  return Buffer.concat(parts);
}

/** A denial or a replay. */
function answered(response: Response, method: string): Json {
  const { status, headers, body } = response;
  if (headers.some(([name]) => name.toLowerCase() === "idempotent-replayed")) {
    return { verdict: "replay", status, code: null, headers, body };
  }
  if (method === "HEAD") {
    return { verdict: "deny", status, headers };
  }
  const { code } = JSON.parse(body) as Json;
  return { verdict: "deny", status, code, headers, body };
}

/** Has the upstream answer so that the gateway ends the request like this. */
function end({ upstream, hasKey, received }: Waiting, step: Json): void {
  const outcome = step["outcome"];
  const response = step["response"] as { status: number; headers: [string, string][]; body: string | null } | undefined;
  if (outcome === "unknown") {
    upstream.destroy();
    return;
  }
  const amount = step["amount"];
  if (typeof amount === "number" && amount > Number(received.headers["x-t-reserved"] ?? 0)) {
    throw new NotCarried("a charge above what was reserved is refused, and nobody told");
  }
  if (outcome === "settle" && response === undefined && hasKey) {
    throw new NotCarried("an upstream that settles gives a response");
  }
  if (hasKey && response?.headers.some(([name]) => name.toLowerCase() === "set-cookie") === true) {
    throw new NotCarried("Set-Cookie is never kept");
  }
  const released = outcome === "void" && response === undefined;
  upstream.sendDate = false;
  const { status, headers, body } = response ?? { status: 200, headers: [], body: "" };
  for (const [name, value] of headers) {
    if (/[^\x20-\x7e]/.test(value)) {
      throw new NotCarried("workerd reads bytes as UTF-8");
    }
    upstream.appendHeader(name, value);
  }
  upstream.setHeader("x-end", outcome === "settle" ? "charge" : released ? "release" : "void");
  if (typeof amount === "number") {
    upstream.setHeader("x-charge", String(amount));
  }
  if (status < 200 || status > 599) {
    throw new NotCarried("a response that HTTP does not have");
  }
  upstream.writeHead(status);
  upstream.end(body ?? ".".repeat((1 << 16) + 1));
}
