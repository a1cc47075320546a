// A gateway for each scenario: the test says its policy, and tells facts and ends by headers.

import { Engine, init } from "tollgate/objects";
import { mergePatch } from "tollgate/objects/scenario";

import { createGateway } from "../../src/gateway.js";
import type { Gateway } from "../../src/gateway.js";
import type { TollgateObject } from "../../src/objects.js";
import type { Settlement } from "../../src/options.js";
import { TollgateObject as Base } from "../../src/objects.js";

interface Env {
  TOLLGATE: DurableObjectNamespace<TollgateObject>;
  TOLLGATE_ADMIN_TOKEN: string;
  UPSTREAM_URL: string;
}

/** Without alarms: scenarios have a clock of their own. */
class Object extends Base<Env> {
  protected override async arm(): Promise<void> {}
}

export { Object as TollgateObject };

const sessions = new Map<string, Gateway<Env>>();

function gatewayOf(policy: object, prefix: string): Gateway<Env> {
  const told = (name: string) => (request: Request) => request.headers.get(name) ?? undefined;
  const cost = told("x-test-cost");
  return createGateway<Env>({
    policy,
    objects: (env) => env.TOLLGATE,
    upstream: (env) => env.UPSTREAM_URL,
    store: { prefix },
    clock: (request) => Number(request.headers.get("x-test-now")),
    peer: (request) => request.headers.get("x-test-peer"),
    cost: (request) => {
      const text = cost(request);
      return text === undefined ? undefined : BigInt(text);
    },
    sender: told("x-test-sender"),
    invalid: told("x-test-invalid"),
    settlement: (response) => {
      const charge = response.headers.get("x-charge");
      const end = response.headers.get("x-end") as Exclude<Settlement, object> | null;
      return charge === null ? (end ?? "unknown") : { charge: BigInt(charge) };
    },
    prepare: (request, { account, route, reserved, reservation }) => {
      const prepared = new Request(request);
      const set = (name: string, value: string | undefined) =>
        value === undefined ? undefined : prepared.headers.set(name, value);
      set("x-t-account", account);
      set("x-t-route", route);
      set("x-t-reserved", reserved === 0n ? undefined : reserved.toString());
      set("x-t-reservation", reservation?.toString());
      return prepared;
    },
    replayHeaders: ["content-type", "location", "x-tag", "x-name", "x-request-id", "x-bytes"],
    maxRequestBody: 8 << 20,
    maxResponseBody: 1 << 16,
  });
}

interface Setup {
  policy?: object;
  preset?: string;
  patch?: object;
}

export default {
  async fetch(request, env, ctx) {
    const session = request.headers.get("x-test-session") ?? "";
    if (new URL(request.url).pathname !== "/-/policy") {
      const gateway = sessions.get(session);
      return gateway === undefined
        ? Response.json({ message: "begin with a `policy` step" }, { status: 400 })
        : await gateway.fetch(request, env, ctx);
    }
    await init();
    const { policy, preset, patch } = await request.json<Setup>();
    try {
      const engine =
        preset === undefined
          ? new Engine(mergePatch(policy ?? {}, patch ?? {}) as object)
          : Engine.preset(preset, patch);
      const prefix = request.headers.get("x-test-prefix") ?? "";
      sessions.set(session, gatewayOf(engine.policy, prefix));
      return Response.json({});
    } catch (error) {
      return Response.json({ message: String(error) }, { status: 400 });
    }
  },
} satisfies ExportedHandler<Env>;
