// A real `tollgate serve`, on free ports of this machine.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const OPERATOR = "an-operator-token-0123456789";

const POLICY = `[scopes]
"sms:send" = ["POST /sms/send"]
reports = ["GET /messages", "GET /messages/{id}"]
[limits.token]
per = "token"
quota = 20
window_ms = 60_000
[limits.account]
per = "account"
quota = 5000
window_ms = 86_400_000
algorithm = "sliding_window"
[limits.sends_per_address]
per = "source_ip"
quota = 10
window_ms = 60_000
counts = "executions"
routes = ["POST /sms/send"]
[routes."POST /sms/send"]
idempotency = true
price = 5
lease_ms = 1
on_expiry = "hold"
`;

interface Decision {
  verdict: string;
  status: number;
  code: string;
}

export class Site {
  /** Where the settings page is. */
  readonly url: string;
  readonly #decisions: string;
  readonly #server: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, decisions: string, server: ChildProcess, folder: string) {
    this.url = url;
    this.#decisions = decisions;
    this.#server = server;
    this.#folder = folder;
  }

  static async start(): Promise<Site> {
    const program = process.env["TOLLGATE"];
    if (program === undefined) {
      throw new Error("TOLLGATE names the program to test; `cargo xtask test page` builds and names it");
    }
    const folder = await mkdtemp(join(tmpdir(), "tollgate-page-"));
    await writeFile(join(folder, "policy.toml"), POLICY);
    await writeFile(join(folder, "token"), OPERATOR);
    const args = ["serve", "--policy", "policy.toml", "--store", "memory", "--listen", "127.0.0.1:0"];
    args.push("--admin-listen", "127.0.0.1:0", "--admin-token-file", "token");
    args.push("--traces-per-second", "1000");
    const server = spawn(program, args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    const [decisions, admin] = await places(server);
    return new Site(`http://${admin}`, `http://${decisions}`, server, folder);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#server.once("exit", resolve));
    this.#server.kill("SIGTERM");
    await ended;
    await rm(this.#folder, { recursive: true });
  }

  /** The JSON API of operators. */
  async api(method: string, path: string, body?: unknown): Promise<any> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${OPERATOR}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return response.status === 204 ? undefined : response.json();
  }

  async account(name: string, settings: unknown): Promise<void> {
    await this.api("PUT", `/api/accounts/${encodeURIComponent(name)}`, settings);
  }

  async shown(name: string): Promise<any> {
    return this.api("GET", `/api/accounts/${encodeURIComponent(name)}`);
  }

  async key(account: string, settings: unknown): Promise<{ token: string; digest: string }> {
    return this.api("POST", `/api/accounts/${encodeURIComponent(account)}/tokens`, settings);
  }

  async keys(account: string): Promise<any[]> {
    return (await this.api("GET", `/api/accounts/${encodeURIComponent(account)}/tokens`)).tokens;
  }

  /** Decides a request with a key, as if it came from `peer`. */
  async decide(key: string, target = "GET /messages", peer = "203.0.113.7"): Promise<Decision> {
    const [method, path] = target.split(" ");
    const headers = [["authorization", `Bearer ${key}`]];
    const response = await fetch(`${this.#decisions}/v1/decide`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ method, target: path, headers, peer }),
    });
    return (await response.json()) as Decision;
  }

  /** The same as a proxy asks it. */
  async forward(key: string, path: string): Promise<number> {
    const response = await fetch(`${this.#decisions}/forward-auth`, {
      headers: {
        authorization: `Bearer ${key}`,
        "x-forwarded-method": "GET",
        "x-forwarded-uri": path,
        "x-forwarded-for": "203.0.113.7",
      },
    });
    return response.status;
  }
}

/** The server says where it listens. */
function places(server: ChildProcess): Promise<[string, string]> {
  return new Promise((resolve, reject) => {
    let said = "";
    const late = setTimeout(() => reject(new Error(`the server did not start:\n${said}`)), 30_000);
    server.once("error", reject);
    server.once("exit", () => reject(new Error(`the server ended:\n${said}`)));
    server.stderr?.on("data", (bytes: Buffer) => {
      said += bytes.toString();
      const found = /decides at (\S+)[^]*administration at (\S+)/.exec(said);
      if (found?.[1] === undefined || found[2] === undefined) return;
      clearTimeout(late);
      resolve([found[1], found[2]]);
    });
  });
}
