// The Worker: tollgate in front of an HTTP API, as policy.json and wrangler.jsonc say.

import policy from "../policy.json";
import { createGateway } from "./gateway.js";
import type { TollgateObject } from "./objects.js";

export { TollgateObject } from "./objects.js";

export interface Env {
  /** The objects that hold the state. */
  TOLLGATE: DurableObjectNamespace<TollgateObject>;
  /** A Worker as the upstream; else `UPSTREAM_URL`. */
  UPSTREAM?: Fetcher;
  /** The upstream's origin, with a path or without. */
  UPSTREAM_URL?: string;
  /** The secret of the administration API, which is off without it. */
  TOLLGATE_ADMIN_TOKEN?: string;
  /** A secret that keys the digests of tokens. */
  TOLLGATE_PEPPER?: string;
}

export default createGateway<Env>({
  policy,
  objects: (env) => env.TOLLGATE,
  upstream: (env) => {
    const upstream = env.UPSTREAM ?? env.UPSTREAM_URL;
    if (upstream === undefined) {
      throw new Error("set UPSTREAM_URL, or bind a Worker as UPSTREAM, in wrangler.jsonc");
    }
    return upstream;
  },
  pepper: (env) =>
    env.TOLLGATE_PEPPER === undefined ? undefined : new TextEncoder().encode(env.TOLLGATE_PEPPER),
});
