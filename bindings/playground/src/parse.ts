// What people type into fields → what the engine takes. An error says which field and what to do.

import type { Outcome, SpendCap, TollgateRequest } from "tollgate";
import type { AccountForm, RequestForm, TokenForm } from "./model.js";

/** A field holds something that cannot be used. */
export class FieldError extends Error {}

/** An amount of money: a whole number. */
export function amount(field: string, typed: string): bigint {
  const digits = typed.replace(/[\s,_]/g, "");
  if (!/^\d{1,20}$/.test(digits)) {
    throw new FieldError(`${field}: write a whole number in the ledger's minor unit (cents, say)`);
  }
  return BigInt(digits);
}

/** A whole number between two bounds. */
export function whole(field: string, typed: string, least: number, most: number): number {
  const digits = typed.replace(/[\s,_]/g, "");
  const value = Number(digits);
  if (!/^\d+$/.test(digits) || !(value >= least && value <= most)) {
    throw new FieldError(`${field}: write a whole number from ${least} to ${most}`);
  }
  return value;
}

/** Words with commas, spaces or new lines between. */
export function list(typed: string): string[] {
  return typed.split(/[\s,]+/).filter((word) => word !== "");
}

const PERIODS = ["day", "month", "lifetime"] as const;

/** `day 500, month 9000 shadow`. */
export function spendCaps(typed: string): SpendCap[] {
  const parts = typed.split(/[,\n]/).map((part) => part.trim()).filter((part) => part !== "");
  return parts.map((part) => {
    const [per, most, shadow, ...more] = part.split(/\s+/);
    const period = PERIODS.find((name) => name === per);
    const isShadow = shadow === "shadow";
    if (period === undefined || most === undefined || more.length > 0 || (shadow && !isShadow)) {
      throw new FieldError(`Spend caps: write '${part}' as 'day 500', 'month 9000 shadow' or so`);
    }
    const cap = { per: period, amount: amount("Spend caps", most) };
    return isShadow ? { ...cap, shadow: true } : cap;
  });
}

export interface AccountSettings {
  id: string;
  balance: bigint;
  networks: string[];
  spendCaps: SpendCap[];
  senders: string[];
}

export function account(form: AccountForm): AccountSettings {
  if (form.id.trim() === "") throw new FieldError("Account: give it a name");
  return {
    id: form.id.trim(),
    balance: form.balance.trim() === "" ? 0n : amount("Opening balance", form.balance),
    networks: list(form.networks),
    spendCaps: spendCaps(form.spendCaps),
    senders: form.senders.split(/[,\n]/).map((name) => name.trim()).filter((name) => name !== ""),
  };
}

export interface TokenSettings {
  token: string;
  account: string;
  scopes: string[];
  networks: string[];
  quota: { limit: number; windowMs: number } | null;
  spendCaps: SpendCap[];
  expiresMs: number | null;
}

export function token(form: TokenForm): TokenSettings {
  if (form.token.trim() === "") throw new FieldError("Token: write one, or have one made");
  if (form.account === "") throw new FieldError("Account of the token: add an account first");
  const hasQuota = form.quota.trim() !== "" || form.windowMs.trim() !== "";
  const most = Number.MAX_SAFE_INTEGER;
  const quota = () => ({
    limit: whole("Own quota", form.quota, 1, most),
    windowMs: whole("Window of the own quota, in ms", form.windowMs, 1, most),
  });
  const expires = form.expiresMs.trim();
  return {
    token: form.token.trim(),
    account: form.account,
    scopes: list(form.scopes),
    networks: list(form.networks),
    quota: hasQuota ? quota() : null,
    spendCaps: spendCaps(form.spendCaps),
    expiresMs: expires === "" ? null : whole("Expires at, in Unix ms", expires, 0, most),
  };
}

/** `Name: value`, one a line. */
export function headerLines(typed: string): [string, string][] {
  const lines = typed.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return lines.map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new FieldError(`Headers: write '${line}' as 'Name: value'`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
}

export function request(form: RequestForm, nowMs: number): TollgateRequest {
  const headers = headerLines(form.headers);
  if (form.token !== "") headers.push(["authorization", `Bearer ${form.token}`]);
  if (form.key !== "") headers.push(["idempotency-key", form.key]);
  const built: TollgateRequest = {
    nowMs,
    method: form.method.trim(),
    target: form.target,
    headers,
    peer: form.peer.trim() === "" ? null : form.peer.trim(),
    peek: form.peek,
  };
  if (form.body !== "") built.body = form.body;
  if (form.cost.trim() !== "") built.cost = amount("Cost", form.cost);
  if (form.sender !== "") built.sender = form.sender;
  if (form.invalid !== "") built.invalid = form.invalid;
  return built;
}

export interface FinishForm {
  kind: "settle" | "void" | "unknown";
  amount: string;
  withResponse: boolean;
  status: string;
  headers: string;
  body: string;
}

export function outcome(form: FinishForm): Outcome {
  if (form.kind === "unknown") return { kind: "unknown" };
  const status = () => whole("Status of the response", form.status, 100, 999);
  const response = form.withResponse
    ? { response: { status: status(), headers: headerLines(form.headers), body: form.body } }
    : {};
  if (form.kind === "void") return { kind: "void", ...response };
  const typed = form.amount.trim();
  const settled = typed === "" ? {} : { amount: amount("Amount to settle", typed) };
  return { kind: "settle", ...settled, ...response };
}
