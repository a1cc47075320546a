import { RequestError } from "./errors.js";
import type { Engine } from "./engine.js";
import { toU64, writeEnding } from "./flat.js";
import { call, raw } from "./raw.js";
import { callerOf, run } from "./remote.js";
import { MemoryStore } from "./stores.js";
import type {
  AccountSettings, AccountView, AmountLike, Outcome, ReservationView, SpendCap, Store, TokenName, TokenSettings, TokenView,
} from "./types.js";

/**
 * Administration of a store. Every method takes the time, and rejects with {@link RefusedError} when the store refuses, {@link StoreError}
 * when it fails; nothing is changed then.
 */
export class Admin {
  constructor(
    private readonly engine: Engine,
    private readonly store: Store | MemoryStore,
  ) {}

  /** Creates an account, or replaces the settings that are given. */
  async putAccount(account: AccountSettings, nowMs: AmountLike): Promise<void> {
    const { id, balance, networks, spendCaps, senders } = account;
    await this.ask({ op: "put_account", id, balance: digits(balance, "balance"), networks, spendCaps: caps(spendCaps), senders }, nowMs);
  }

  /** Creates a token, or replaces the settings that are given. Its account must exist. */
  async putToken(settings: TokenSettings, nowMs: AmountLike): Promise<void> {
    const { token, account, scopes, networks, quota, spendCaps, expiresMs } = settings;
    await this.ask(
      {
        op: "put_token",
        token,
        account,
        scopes,
        networks,
        quota: quota && { limit: digits(quota.limit, "quota.limit"), windowMs: digits(quota.windowMs, "quota.windowMs") },
        spendCaps: caps(spendCaps),
        expiresMs: expiresMs === null ? null : digits(expiresMs, "expiresMs"),
      },
      nowMs,
    );
  }

  /** Puts a new token in the place of an old one, which still works for `graceMs`. */
  async rotateToken(token: TokenName, replacement: string, graceMs: AmountLike, nowMs: AmountLike): Promise<void> {
    await this.ask({ op: "rotate_token", token, replacement, graceMs: digits(graceMs, "graceMs") }, nowMs);
  }

  /** Revokes a token for good, at once. */
  async revokeToken(token: TokenName, nowMs: AmountLike): Promise<void> {
    await this.ask({ op: "revoke_token", token }, nowMs);
  }

  /** Pays in. */
  async deposit(account: string, amount: AmountLike, nowMs: AmountLike): Promise<void> {
    await this.ask({ op: "deposit", account, amount: digits(amount, "amount") }, nowMs);
  }

  /** Gives back a part of what a reservation posted, once per reference. */
  async refund(account: string, reservation: bigint, amount: AmountLike, reference: string, nowMs: AmountLike): Promise<void> {
    await this.ask(
      { op: "refund", account, reservation: digits(reservation, "reservation"), amount: digits(amount, "amount"), reference },
      nowMs,
    );
  }

  /** Says how a request ended whose end nobody reported; gives what was posted. */
  async resolve(account: string, reservation: bigint, outcome: Outcome, nowMs: AmountLike): Promise<bigint | undefined> {
    const asked = { op: "resolve", account, reservation: digits(reservation, "reservation") };
    const posted = await this.ask(asked, nowMs, () => writeEnding(undefined, outcome, nowMs));
    return posted === null ? undefined : BigInt(posted as string);
  }

  /** Shows an account. */
  async account(id: string, nowMs: AmountLike): Promise<AccountView> {
    return revive<AccountView>(await this.ask({ op: "account", id }, nowMs), ACCOUNT_NUMBERS);
  }

  /** Lists the names of accounts, sorted by their bytes: those after `after`, at most `atMost` (1000). */
  async accounts(options: { after?: string; atMost?: number }, nowMs: AmountLike): Promise<string[]> {
    const { after, atMost } = options;
    return (await this.ask({ op: "accounts", after, atMost }, nowMs)) as string[];
  }

  /** Lists an account's tokens. */
  async tokens(account: string, nowMs: AmountLike): Promise<TokenView[]> {
    const views = (await this.ask({ op: "tokens", account }, nowMs)) as unknown[];
    return views.map((view) => revive<TokenView>(view, TOKEN_NUMBERS));
  }

  /** Lists an account's reservations, by number: open ones, and finished ones that are still kept. */
  async reservations(account: string, nowMs: AmountLike): Promise<ReservationView[]> {
    const views = (await this.ask({ op: "reservations", account }, nowMs)) as unknown[];
    return views.map((view) => revive<ReservationView>(view, RESERVATION_NUMBERS));
  }

  /** Reclaims what is due; gives how many leases and claims ended. */
  async expire(nowMs: AmountLike): Promise<bigint> {
    return BigInt((await this.ask({ op: "expire" }, nowMs)) as string);
  }

  private async ask(asked: object, nowMs: AmountLike, input = () => 0): Promise<unknown> {
    const json = JSON.stringify(asked);
    const now = toU64(nowMs, "nowMs");
    const { engine, store } = this;
    if (store instanceof MemoryStore) return JSON.parse(call(() => engine.raw.administer(store.raw, json, now, input()))) as unknown;
    const caller = callerOf(store);
    const begin = () => raw().RawOperation.administer(engine.raw, caller, json, now, input());
    return JSON.parse(await run(store, begin, (operation) => operation.told())) as unknown;
  }
}

function digits(value: AmountLike | undefined, what: string): string | undefined {
  return value === undefined ? undefined : toU64(value, what).toString();
}

function caps(given: readonly SpendCap[] | undefined): object[] | undefined {
  if (given !== undefined && !Array.isArray(given)) throw new RequestError("spendCaps is a list");
  return given?.map(({ per, amount, shadow }) => ({ per, amount: digits(amount, "amount"), shadow }));
}

const ACCOUNT_NUMBERS = ["balance", "held", "available", "posted", "deposited", "refunded", "reservations", "amount"];
const TOKEN_NUMBERS = ["limit", "windowMs", "amount", "expiresMs"];
const RESERVATION_NUMBERS = ["id", "amount", "posted", "refunded", "leaseUntilMs"];

/** Numbers of 64 bits came as strings of digits. */
function revive<T>(view: unknown, numbers: readonly string[]): T {
  if (Array.isArray(view)) return view.map((one) => revive<unknown>(one, numbers)) as T;
  if (typeof view !== "object" || view === null) return view as T;
  const revived = Object.entries(view).map(([name, value]: [string, unknown]) => [
    name,
    typeof value === "string" && numbers.includes(name) ? BigInt(value) : revive<unknown>(value, numbers),
  ]);
  return Object.fromEntries(revived) as T;
}
