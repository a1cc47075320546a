// A gateway in workerd with its upstream, and what tests do with both.

import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { Agent, createServer, request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

const workers = join(dirname(fileURLToPath(import.meta.url)), "../workers");

export const SECRET = "a secret of the administrator's";
export const COMPATIBILITY = {
  compatibilityDate: "2026-04-20",
  compatibilityFlags: ["enable_request_signal"],
};

/** Opaque tokens, one route for each thing that matters. */
export const POLICY = {
  tokens: { format: "opaque" },
  scopes: {
    all: ["POST /pay", "PUT /pay", "GET /paid", "GET /read", "POST /free", "GET /counted"],
  },
  routes: {
    "POST /pay": { idempotency: true, price: 5 },
    "PUT /pay": { idempotency: true, price: 5 },
    "GET /paid": { idempotency: true, price: 3 },
    "POST /free": { idempotency: true },
  },
};

/** A request that reached the upstream. */
export interface Received {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export type Answering = (
  request: Received,
  response: ServerResponse,
  incoming: IncomingMessage,
) => void | Promise<void>;

/** The API behind the gateway. It keeps what it was asked. */
export class Upstream {
  readonly received: Received[] = [];
  readonly #server: Server;
  answering: Answering;

  private constructor(server: Server, answering: Answering) {
    this.#server = server;
    this.answering = answering;
  }

  static async start(answering: Answering = echo): Promise<Upstream> {
    const server = createServer((incoming, response) => {
      const parts: Buffer[] = [];
      incoming.on("data", (part: Buffer) => parts.push(part));
      incoming.on("error", () => undefined);
      response.on("error", () => undefined);
      incoming.on("end", () => {
        const received = {
          method: incoming.method ?? "",
          url: incoming.url ?? "",
          headers: incoming.headers,
          body: Buffer.concat(parts),
        };
        upstream.received.push(received);
        void upstream.answering(received, response, incoming);
      });
    });
    const upstream = new Upstream(server, answering);
    server.keepAliveTimeout = 60_000;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return upstream;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How often it was asked under each idempotency key. */
  byKey(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { headers } of this.received) {
      const key = String(headers["idempotency-key"]);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function echo(request: Received, response: ServerResponse): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ method: request.method, url: request.url, n: Math.random() }));
}

export interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  body: Buffer;
  json(): Record<string, unknown>;
}

export interface Asking {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** On a connection of its own: one that the server closes early is of no use to others. */
  alone?: boolean;
}

/** Directories of one workerd after the other. */
export async function temporary(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "tollgate-worker-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export interface Setup {
  policy?: object;
  directory: string;
  upstream: string;
  worker?: string;
  /** A directory with a bundle, in place of `worker`. */
  bundle?: string;
  bindings?: Record<string, string>;
  /** Without the secret of the administration API. */
  secret?: false;
}

/** A Worker in workerd, over a directory that outlives it. */
export class Gateway {
  readonly logs: string[];
  readonly #miniflare: Miniflare;
  readonly #url: URL;
  readonly #pid: number;
  #stopped: Promise<void> | undefined;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  private constructor(miniflare: Miniflare, url: URL, pid: number, logs: string[]) {
    this.#miniflare = miniflare;
    this.#url = url;
    this.#pid = pid;
    this.logs = logs;
  }

  static async start(setup: Setup): Promise<Gateway> {
    const logs: string[] = [];
    const directory = setup.bundle ?? join(workers, setup.worker ?? "gateway");
    const before = new Set(children());
    const miniflare = new Miniflare({
      ...COMPATIBILITY,
      modules: await modules(directory),
      modulesRoot: directory,
      host: "127.0.0.1",
      port: 0,
      bindings: {
        POLICY: JSON.stringify(setup.policy ?? POLICY),
        UPSTREAM_URL: setup.upstream,
        UPSTREAM_TIMEOUT_MS: "30000",
        ...(setup.secret === false ? {} : { TOLLGATE_ADMIN_TOKEN: SECRET }),
        ...setup.bindings,
      },
      durableObjects: { TOLLGATE: { className: "TollgateObject", useSQLite: true } },
      durableObjectsPersist: join(setup.directory, "objects"),
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      handleStructuredLogs: ({ message }: { message: string }) => {
        logs.push(message);
        if (process.env["TOLLGATE_LOGS"] !== undefined) {
          console.error(message);
        }
      },
    });
    await miniflare.ready;
    const url = await miniflare.unsafeGetDirectURL();
    const [pid] = children().filter((child) => !before.has(child));
    if (pid === undefined) {
      throw new Error("workerd is not among this process's children");
    }
    return new Gateway(miniflare, url, pid, logs);
  }

  get port(): number {
    return Number(this.#url.port);
  }

  /** Sends a request as it is, and reads the whole answer. */
  ask(target: string, asking: Asking = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = httpRequest(
        {
          host: "127.0.0.1",
          port: this.port,
          path: target,
          method: asking.method ?? "GET",
          headers: asking.headers ?? {},
          agent: asking.alone === true ? false : this.#agent,
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on("data", (part: Buffer) => parts.push(part));
          response.on("error", reject);
          response.on("end", () => {
            const body = Buffer.concat(parts);
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body,
              json: () => JSON.parse(body.toString()) as Record<string, unknown>,
            });
          });
        },
      );
      sent.on("error", reject);
      sent.end(asking.body);
    });
  }

  /** Sends a request, and gives the answer as soon as its head is there; or destroys the connection. */
  open(target: string, asking: Asking = {}): ClientRequest {
    const sent = httpRequest({
      host: "127.0.0.1",
      port: this.port,
      path: target,
      method: asking.method ?? "GET",
      headers: asking.headers ?? {},
      agent: false,
    });
    sent.on("error", () => undefined);
    sent.end(asking.body);
    return sent;
  }

  /** A payment under a key, on a connection of its own. */
  beginToPay(key: string, headers: Record<string, string> = {}, token = "t-acme"): ClientRequest {
    const all = { authorization: `Bearer ${token}`, "idempotency-key": key, ...headers };
    return this.open("/pay", { method: "POST", headers: all, body: '{"to":1}' });
  }

  /** A request of the account's. */
  as(token: string, target: string, asking: Asking = {}): Promise<Answer> {
    const headers = { authorization: `Bearer ${token}`, ...asking.headers };
    return this.ask(target, { ...asking, headers });
  }

  /** A payment under a key. */
  pay(key: string, headers: Record<string, string> = {}, token = "t-acme"): Promise<Answer> {
    const all = { "idempotency-key": key, "content-type": "application/json", ...headers };
    return this.as(token, "/pay", { method: "POST", headers: all, body: '{"to":1}' });
  }

  async admin(method: string, path: string, body?: object): Promise<Answer> {
    const headers = { authorization: `Bearer ${SECRET}` };
    const asking = body === undefined ? {} : { body: JSON.stringify(body) };
    return await this.ask(`/-/tollgate/${path}`, { method, headers, ...asking });
  }

  /** An account with the token `t-NAME`. */
  async account(name: string, balance: number): Promise<void> {
    await ok(this.admin("PUT", `accounts/${name}`, { balance }));
    const token = { token: `t-${name}`, scopes: ["all"] };
    await ok(this.admin("POST", `accounts/${name}/tokens`, token));
  }

  /** What an object's alarms and storage are like. */
  async seen(object: string): Promise<{ alarms: number; alarmMs: number | null; rows: number }> {
    const answer = await ok(this.ask(`/-/seen?object=${encodeURIComponent(object)}`));
    return answer.json() as { alarms: number; alarmMs: number | null; rows: number };
  }

  async money(name = "acme"): Promise<Record<string, number>> {
    return (await ok(this.admin("GET", `accounts/${name}`))).json() as Record<string, number>;
  }

  /** The account's money, once it is as expected or does not become so. */
  async expectMoney(expected: Record<string, number>, name = "acme", ms = 5_000): Promise<void> {
    await eventually(async () => {
      const money = await this.money(name);
      const wrong = Object.entries(expected).filter(([field, amount]) => money[field] !== amount);
      return wrong.length === 0 ? undefined : `${JSON.stringify(expected)}: ${JSON.stringify(money)}`;
    }, ms);
  }

  /** Ends workerd as a crash of its machine would. */
  async kill(): Promise<void> {
    process.kill(this.#pid, "SIGKILL");
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    this.#stopped ??= this.#miniflare.dispose();
    await this.#stopped;
  }
}

export async function modules(
  directory: string,
): Promise<{ type: "ESModule" | "CompiledWasm"; path: string }[]> {
  const files = (await readdir(directory)).filter((file) => /\.(js|wasm)$/.test(file));
  // The entry is the first.
  files.sort((a, b) => Number(b.endsWith(".js")) - Number(a.endsWith(".js")));
  return files.map((file) => ({
    type: file.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: join(directory, file),
  }));
}

/** This process's children that are workerd. */
function children(): number[] {
  const found: number[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) {
      continue;
    }
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const [, name, parent] = /^\d+ \((.*)\) \S (\d+)/.exec(stat) ?? [];
      if (name === "workerd" && Number(parent) === process.pid) {
        found.push(Number(entry));
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

export async function ok(asked: Promise<Answer>): Promise<Answer> {
  const answer = await asked;
  if (answer.status !== 200) {
    throw new Error(`${answer.status}: ${answer.body.toString()}`);
  }
  return answer;
}

/** Waits until there is nothing wrong any more. */
export async function eventually(
  wrong: () => Promise<string | undefined>,
  ms = 5_000,
): Promise<void> {
  const end = Date.now() + ms;
  for (;;) {
    const why = await wrong();
    if (why === undefined) {
      return;
    }
    if (Date.now() > end) {
      throw new Error(why);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Runs `count` jobs, `width` at a time; gives what each gave. */
export async function crowd<T>(
  count: number,
  width: number,
  job: (n: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = new Array<T>(count);
  let next = 0;
  const one = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      results[n] = await job(n);
    }
  };
  await Promise.all(Array.from({ length: width }, one));
  return results;
}
