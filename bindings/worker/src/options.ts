// What a gateway may be told.

import type { AmountLike, Policy, Ticket } from "tollgate/objects";

import type { AdminOptions } from "./admin.js";
import type { Objects, ObjectsOptions } from "./store.js";

/** How a request ends that was forwarded. */
export type Settlement =
  /** It was carried out: all that was reserved is posted, and the response is kept for replays. */
  | "charge"
  /** It was carried out for less: this much is posted, the response kept. */
  | { charge: AmountLike }
  /** It costs nothing; the response is kept for replays. */
  | "void"
  /** It was not carried out: it costs nothing, and the idempotency key is free again. */
  | "release"
  /** Nobody knows: the money stays held and the key in flight until an operator resolves it or the lease ends. */
  | "unknown";

/** A service binding, or the origin (and path) of an HTTP server. */
export type Upstream = Pick<Fetcher, "fetch"> | URL | string;

/** What a hook is told of a request. `body` is there where it was read; the request's own must not be. */
export type Hook<T> = (request: Request, body: Uint8Array | undefined) => T | undefined;

/** What was decided about a request that goes on to the upstream. */
export interface Admitted {
  account: string | undefined;
  route: string | undefined;
  reserved: bigint;
  reservation: bigint | undefined;
}

export interface GatewayOptions<Env> {
  /** The policy: JSON as text, or an object. It is read once for each isolate. */
  policy: Policy | ((env: Env) => Policy);
  /** Where the state is. */
  objects: (env: Env) => Objects;
  /** What requests that are let through go to. */
  upstream: Upstream | ((env: Env) => Upstream);
  /** Names and places of the objects. */
  store?: ObjectsOptions;
  /** Keys the digests of tokens. Changing it makes every token unknown. */
  pepper?: (env: Env) => Uint8Array | undefined;

  /** Price in the ledger's minor unit; `undefined` takes the route's. */
  cost?: Hook<AmountLike>;
  /** The sender that a request names, to be checked against the account's approved ones. */
  sender?: Hook<string>;
  /** The host's own validation: the message for the client when it refuses the request (422). */
  invalid?: Hook<string>;
  /** Reads the body of every request before it is decided, for the hooks above. */
  readBody?: boolean;
  /** The address of the client. By default `CF-Connecting-IP`, which only Cloudflare sets. */
  peer?: (request: Request) => string | null;

  /** How a request ends whose upstream answered, by the head of the response. */
  settlement?: (response: Response) => Settlement;
  /** How a request ends whose upstream could not be asked; by default always `unknown`. */
  errorSettlement?: (error: unknown) => Settlement;
  /** Told of a settlement that was refused, or failed three times. By default it is logged. */
  onFinishError?: (ticket: Ticket, error: unknown) => void;
  /** Changes a request on its way to the upstream. It must keep method and body. */
  prepare?: (request: Request, admitted: Admitted) => Request;

  /** Response headers that are kept for replays, in place of {@link DEFAULT_REPLAY_HEADERS}. */
  replayHeaders?: readonly string[];
  /** The longest request body that is read, in bytes. Default: 1 MiB. */
  maxRequestBody?: number;
  /** The longest response body that is kept for replays, in bytes. Default: 1 MiB; at most 16 MiB. */
  maxResponseBody?: number;
  /** How long the head of the upstream's response may take; then 504. Default: no bound. */
  upstreamTimeoutMs?: number;
  /** How long a request that must be settled is carried on after its client left. Default: 25 s. */
  carryOnMs?: number;
  /** The administration API. Default: `/-/tollgate`, with the secret `TOLLGATE_ADMIN_TOKEN`. */
  admin?: AdminOptions<Env> | false;
  /** The time in Unix milliseconds. */
  clock?: (request: Request) => number;
}

export const DEFAULT_REPLAY_HEADERS: readonly string[] = [
  "content-type",
  "content-language",
  "content-encoding",
  "content-disposition",
  "content-location",
  "location",
  "cache-control",
  "etag",
  "last-modified",
  "link",
  "vary",
];

/** Headers of one connection, one moment or one client: they are never kept. */
const NEVER_KEPT = new Set([
  "set-cookie",
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "date",
  "content-length",
]);

/** An object's storage and a message to it have room for so much, with the rest of the record. */
const MOST_RESPONSE_BODY = 16 << 20;

/** The options with their defaults. */
export interface Settings<Env> extends GatewayOptions<Env> {
  peer: (request: Request) => string | null;
  settlement: (response: Response) => Settlement;
  errorSettlement: (error: unknown) => Settlement;
  replayHeaders: readonly string[];
  maxRequestBody: number;
  maxResponseBody: number;
  carryOnMs: number;
  clock: (request: Request) => number;
}

export function settings<Env>(options: GatewayOptions<Env>): Settings<Env> {
  const headers = (options.replayHeaders ?? DEFAULT_REPLAY_HEADERS).map((name) => name.toLowerCase());
  return {
    ...options,
    peer: options.peer ?? ((request) => request.headers.get("cf-connecting-ip")),
    settlement: options.settlement ?? defaultSettlement,
    errorSettlement: options.errorSettlement ?? (() => "unknown"),
    replayHeaders: headers.filter((name) => !NEVER_KEPT.has(name)),
    maxRequestBody: options.maxRequestBody ?? 1 << 20,
    maxResponseBody: Math.min(options.maxResponseBody ?? 1 << 20, MOST_RESPONSE_BODY),
    carryOnMs: options.carryOnMs ?? 25_000,
    clock: options.clock ?? (() => Date.now()),
  };
}

/**
 * Cloudflare answers for an origin that it cannot reach, with statuses of its own: 521 (refused), 523
 * (unreachable), 525 and 526 (TLS) say that nothing was sent; 520, 522, 524, 527 and 530 may come after.
 */
export function defaultSettlement(response: Response): Settlement {
  switch (response.status) {
    case 521:
    case 523:
    case 525:
    case 526:
      return "release";
    case 520:
    case 522:
    case 524:
    case 527:
    case 530:
      return "unknown";
    default:
      return response.status >= 200 && response.status < 400 ? "charge" : "void";
  }
}
