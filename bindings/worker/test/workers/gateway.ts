// A gateway that a test sets up by bindings and headers.

import { createGateway } from "../../src/gateway.js";
import type { TollgateObject } from "../../src/objects.js";

export { TollgateObject } from "../../src/objects.js";

export interface Env {
  TOLLGATE: DurableObjectNamespace<TollgateObject>;
  TOLLGATE_ADMIN_TOKEN: string;
  POLICY: string;
  UPSTREAM_URL: string;
}

export default createGateway<Env>({
  policy: (env) => env.POLICY,
  objects: (env) => env.TOLLGATE,
  upstream: (env) => env.UPSTREAM_URL,
  peer: (request) => request.headers.get("x-test-peer") ?? "192.0.2.1",
  cost: (request) => {
    const cost = request.headers.get("x-test-cost");
    return cost === null ? undefined : Number(cost);
  },
  settlement: (response) => {
    const charge = response.headers.get("x-charge");
    if (charge !== null) {
      return { charge: Number(charge) };
    }
    return response.status < 400 ? "charge" : "void";
  },
  maxResponseBody: 6 << 20,
  upstreamTimeoutMs: 3_000,
  carryOnMs: 2_000,
});
