// The shapes that go in and come out.

/** An amount of money in the ledger's minor unit, or another number of 64 bits: given as a safe integer or a bigint, always told as a bigint. */
export type AmountLike = number | bigint;

/** A policy as JSON text, or the same as an object: see the policy reference. */
export type Policy = string | object;

/** What a host knows of one call. */
export interface TollgateRequest {
  /** Unix time in milliseconds. */
  nowMs: AmountLike;
  /** Method, as sent. Here and in `target`, `headers` and `peer`, each unit of a string is one byte (U+0000 to U+00FF). */
  method: string;
  /** Path and query, as sent, not decoded. */
  target: string;
  /** Pairs in the order of arrival, a `Headers`, or an object of name and value or values. Names in any case. */
  headers?: HeadersLike;
  /** Address of the TCP peer. What is no address is none, and networks and limits by source deny then. */
  peer?: string | null | undefined;
  /** Body, which is part of what an idempotency key stands for. A string is taken as UTF-8. */
  body?: Uint8Array | string | null | undefined;
  /** Price of this call; absent: the route's own. */
  cost?: AmountLike | undefined;
  /** The sender that the call names, to be checked against the account's approved ones. */
  sender?: string | undefined;
  /** Why the host's own validation refuses the call; a message for the client. */
  invalid?: string | undefined;
  /** Decide and consume nothing. */
  peek?: boolean | undefined;
}

/** Headers of a request. */
export type HeadersLike =
  | Headers
  | Iterable<readonly [string, string]>
  | { readonly [name: string]: string | readonly string[] | undefined };

/** What is to be done with a request. */
export type Verdict = "allow" | "deny" | "replay";

/** The decision on one request. */
export interface Decision {
  /** `allow`: pass it on, and if there is a `ticket`, finish it afterwards. Else answer with `status`, `headers` and `body`. */
  verdict: Verdict;
  /** HTTP status; 200 for an allowed request. */
  status: number;
  /** Why a request was denied, for programs. */
  code: string | undefined;
  /** Headers of the answer in order; for an allowed request those to add to the upstream's. Each unit of a value is one byte. */
  headers: [string, string][];
  /** Body of the answer; empty for an allowed request. */
  body: Uint8Array;
  /** The account's name, once the token is known. */
  account: string | undefined;
  /** The route's name (`METHOD /path/{param}`), once one is found. */
  route: string | undefined;
  /** What is reserved; absent when nothing is. */
  reserved: bigint | undefined;
  /** When the same request would pass as far as limits go, in Unix milliseconds; on 429 only. */
  retryAtMs: number | undefined;
  /** Why the store did not answer, where that decided. For the operator, not for the client. */
  storeError: string | undefined;
  /** What would have refused the request if it were enforced. */
  shadows: Shadows;
  /** What the request must be finished with; absent when there is nothing to finish. */
  ticket: Ticket | undefined;
}

/** Checks in shadow mode that would have refused the request. */
export interface Shadows {
  /** Names of limits. */
  limits: string[];
  /** A spend cap of the token or the account. */
  spendCaps: boolean;
  /** The networks of the token or the account. */
  networks: boolean;
}

/** What a request is finished with: bytes, which may be kept and sent elsewhere, and what they say. */
export interface Ticket {
  readonly bytes: Uint8Array;
  /** Number of the reservation within its account. */
  readonly reservation: bigint;
  /** What is reserved. */
  readonly reserved: bigint;
  /** Whether it holds an idempotency key, so that its response should be captured. */
  readonly holdsKey: boolean;
}

/** How a request ended that was allowed. */
export type Outcome =
  /** It was carried out, and cost `amount`, at most what is reserved; absent: all of it. */
  | { kind: "settle"; amount?: AmountLike | undefined; response?: StoredResponse | undefined }
  /** It was not carried out, or costs nothing. Without a response its idempotency key is free again. */
  | { kind: "void"; response?: StoredResponse | undefined }
  /** Nobody knows: the key stays in flight and the money held, until somebody does or a lease ends. */
  | { kind: "unknown" };

/** The upstream's response, for replays. */
export interface StoredResponse {
  /** HTTP status, 100 to 999. */
  status: number;
  /** Headers to be given again, in order. */
  headers: Iterable<readonly [string, string]>;
  /** Body; `null` when it was too large to keep. A string is taken as UTF-8. */
  body: Uint8Array | string | null;
}

/** A decision that consumed nothing, and how it came about. */
export interface Explanation {
  decision: Decision;
  /** The checks, in order. */
  steps: TraceStep[];
}

/** One check of a decision. */
export interface TraceStep {
  check:
    | "bearer_token" | "credential" | "source_network" | "scope" | "request_limit" | "idempotency" | "validation" | "execution_limit"
    | "spend_cap" | "wallet" | (string & {});
  /** The rule that was applied. */
  rule: string;
  /** What it was applied to; never a secret. */
  observed: string;
  result: "passed" | "decided" | "shadow" | "would_pass" | "would_fail";
  /** What would make it pass, if it failed. */
  fix: string | null;
}

/** Something about a policy, and where. */
export interface PolicyProblem {
  /** A dotted path (`limits.token.window_ms`); empty for the text as a whole. */
  place: string;
  /** Line in the text, from 1, where there is one. */
  line: number | null;
  /** What it is, and what to do. */
  message: string;
}

/** A bound on what may be spent in a period. */
export interface SpendCap<A = AmountLike> {
  per: "day" | "month" | "lifetime";
  amount: A;
  /** Evaluated and reported, not enforced. */
  shadow?: boolean | undefined;
}

/** An account to create, or settings of it to replace; what is absent stays. */
export interface AccountSettings {
  /** 1 to 128 bytes of UTF-8 without control characters. */
  id: string;
  /** What it starts with; counts only at creation. */
  balance?: AmountLike | undefined;
  /** Networks (`192.0.2.0/24`) or addresses it may be used from; empty: any. */
  networks?: readonly string[] | undefined;
  spendCaps?: readonly SpendCap[] | undefined;
  /** Senders that are approved for it. */
  senders?: readonly string[] | undefined;
}

/** A token to create, or settings of it to replace; what is absent stays. */
export interface TokenSettings {
  /** Its text. Only a digest of it is kept. */
  token: string;
  account: string;
  scopes?: readonly string[] | undefined;
  networks?: readonly string[] | undefined;
  /** Its own quota in place of the policy's; `null` takes it away. */
  quota?: { limit: AmountLike; windowMs: AmountLike } | null | undefined;
  spendCaps?: readonly SpendCap[] | undefined;
  /** Unix milliseconds; `null` takes it away. */
  expiresMs?: AmountLike | null | undefined;
}

/** A token by its text, or by the digest that lists show. */
export type TokenName = string | { digest: string };

/** An account as an operator sees it. */
export interface AccountView {
  balance: bigint;
  held: bigint;
  available: bigint;
  posted: bigint;
  deposited: bigint;
  refunded: bigint;
  /** How many are open. */
  reservations: bigint;
  networks: string[];
  spendCaps: SpendCap<bigint>[];
  senders: string[];
}

/** A token as an operator sees it. */
export interface TokenView {
  digest: string;
  scopes: string[];
  networks: string[];
  quota: { limit: bigint; windowMs: bigint } | null;
  spendCaps: SpendCap<bigint>[];
  expiresMs: bigint | null;
  revoked: boolean;
}

/** A reservation as an operator sees it. */
export interface ReservationView {
  id: bigint;
  amount: bigint;
  /** The digest of the token that it was made with. */
  token: string;
  state: "held" | "posted" | "voided";
  posted: bigint | null;
  refunded: bigint | null;
  /** Whether the end of its lease decided, and not the host. */
  byExpiry: boolean;
  holdsKey: boolean;
  leaseUntilMs: bigint;
}

/** State elsewhere, in objects that each perform one message at a time: Durable Objects, actors, servers. The host carries the messages. */
export interface Store {
  /**
   * Has the object with this name perform a message, and gives what its {@link StoreObject.perform} gave.
   * To reject is to say that nobody knows whether it was performed.
   */
  send(call: StoreCall): Promise<Uint8Array>;
  /** How many tokens are kept at hand; 10 000 if absent. Read once. */
  readonly cachedTokens?: number | undefined;
}

/** A message to an object. */
export interface StoreCall {
  /** Name of the object: ASCII, at most 512 bytes. */
  object: string;
  message: Uint8Array;
  /** Whether it may be sent again as it is when its answer is lost. */
  repeatable: boolean;
}

/** The ordered map of one object: keys by their bytes. Calls come one after the other, from within a call of the object. */
export interface KvMap {
  get(key: Uint8Array): Uint8Array | undefined;
  /** The first entry whose key is `key` or comes after it. */
  firstAtOrAfter(key: Uint8Array): readonly [Uint8Array, Uint8Array] | undefined;
  /** Makes all the changes or none. */
  commit(puts: readonly (readonly [Uint8Array, Uint8Array])[], removes: readonly Uint8Array[]): void;
}
