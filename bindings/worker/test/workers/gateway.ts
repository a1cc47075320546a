// A gateway that a test sets up by bindings and headers, and sees into.

import { env as own } from "cloudflare:workers";

import { createGateway } from "../../src/gateway.js";
import { TollgateObject as Base } from "../../src/objects.js";

export interface Env {
  TOLLGATE: DurableObjectNamespace<TollgateObject>;
  TOLLGATE_ADMIN_TOKEN: string;
  POLICY: string;
  UPSTREAM_URL: string;
  UPSTREAM_TIMEOUT_MS: string;
}

/** What a test sees of an object. */
interface Seen {
  alarms: number;
  alarmMs: number | null;
  rows: number;
}

export class TollgateObject extends Base<Env> {
  #alarms = 0;

  override async alarm(): Promise<void> {
    this.#alarms += 1;
    await super.alarm();
  }

  async seen(): Promise<Seen> {
    const { sql } = this.ctx.storage;
    const [table] = sql.exec("SELECT name FROM sqlite_master WHERE name = 'tollgate'").toArray();
    const rows = table === undefined ? 0 : sql.exec("SELECT * FROM tollgate").toArray().length;
    return { alarms: this.#alarms, alarmMs: await this.ctx.storage.getAlarm(), rows };
  }
}

const gateway = createGateway<Env>({
  policy: (env) => env.POLICY,
  objects: (env) => env.TOLLGATE,
  upstream: (env) => env.UPSTREAM_URL,
  peer: (request) => request.headers.get("x-test-peer") ?? "192.0.2.1",
  cost: (request) => {
    const cost = request.headers.get("x-test-cost");
    return cost === null ? undefined : Number(cost);
  },
  invalid: (request) => request.headers.get("x-test-invalid") ?? undefined,
  settlement: (response) => {
    const charge = response.headers.get("x-charge");
    if (charge !== null) {
      return { charge: Number(charge) };
    }
    return response.status < 400 ? "charge" : "void";
  },
  prepare: (request, { account, route, reserved }) => {
    const prepared = new Request(request);
    prepared.headers.set("x-account", account ?? "");
    prepared.headers.set("x-route", route ?? "");
    prepared.headers.set("x-reserved", reserved.toString());
    return prepared;
  },
  maxResponseBody: 6 << 20,
  upstreamTimeoutMs: Number((own as Env).UPSTREAM_TIMEOUT_MS),
  carryOnMs: 1_000,
});

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/-/seen") {
      const id = env.TOLLGATE.idFromName(searchParams.get("object") ?? "");
      return Response.json(await env.TOLLGATE.get(id).seen());
    }
    return await gateway.fetch(request, env, ctx);
  },
} satisfies ExportedHandler<Env>;
