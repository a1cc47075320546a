// What the page keeps: as typed by its user, in drafts and links. Anything from there is checked.

export interface AccountForm {
  id: string;
  balance: string;
  networks: string;
  spendCaps: string;
  senders: string;
}

export interface TokenForm {
  token: string;
  account: string;
  scopes: string;
  networks: string;
  quota: string;
  windowMs: string;
  spendCaps: string;
  expiresMs: string;
}

export interface RequestForm {
  method: string;
  target: string;
  token: string;
  peer: string;
  headers: string;
  key: string;
  body: string;
  cost: string;
  sender: string;
  invalid: string;
  peek: boolean;
}

export interface BurstForm {
  rate: string;
  seconds: string;
  clients: string;
  cost: string;
  answerMs: string;
}

/** All that a link carries. */
export interface Page {
  policy: string;
  accounts: AccountForm[];
  tokens: TokenForm[];
  request: RequestForm;
  scenario: string;
  burst: BurstForm;
  clockMs: number;
}

export const EMPTY_ACCOUNT: AccountForm = {
  id: "",
  balance: "",
  networks: "",
  spendCaps: "",
  senders: "",
};

export const EMPTY_TOKEN: TokenForm = {
  token: "",
  account: "",
  scopes: "",
  networks: "",
  quota: "",
  windowMs: "",
  spendCaps: "",
  expiresMs: "",
};

export const EMPTY_REQUEST: RequestForm = {
  method: "POST",
  target: "/",
  token: "",
  peer: "192.0.2.1",
  headers: "",
  key: "",
  body: "",
  cost: "",
  sender: "",
  invalid: "",
  peek: false,
};

export const DEFAULT_BURST: BurstForm = {
  rate: "2",
  seconds: "60",
  clients: "8",
  cost: "",
  answerMs: "3000",
};

/** Longest text that a link or a draft may bring into one field. */
const MAX_TEXT = 2_000_000;
const MAX_ROWS = 200;
const MAX_CLOCK_MS = 2 ** 44 - 1; // the latest time that the engine takes

/** Reads a page from JSON of unknown origin. What is missing or of a wrong type is as in `base`. */
export function readPage(value: unknown, base: Page): Page {
  if (!isObject(value)) return base;
  const clockMs = value["clockMs"];
  const clockIsFine = typeof clockMs === "number" && clockMs >= 0 && clockMs <= MAX_CLOCK_MS;
  return {
    policy: readText(value["policy"], base.policy),
    accounts: readRows(value["accounts"], EMPTY_ACCOUNT, base.accounts),
    tokens: readRows(value["tokens"], EMPTY_TOKEN, base.tokens),
    request: readForm(value["request"], base.request),
    scenario: readText(value["scenario"], base.scenario),
    burst: readForm(value["burst"], base.burst),
    clockMs: clockIsFine ? Math.trunc(clockMs) : base.clockMs,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readText(value: unknown, base: string): string {
  return typeof value === "string" && value.length <= MAX_TEXT ? value : base;
}

function readRows<T extends object>(value: unknown, empty: T, base: T[]): T[] {
  if (!Array.isArray(value)) return base;
  return value.slice(0, MAX_ROWS).map((row) => readForm(row, empty));
}

function readForm<T extends object>(value: unknown, base: T): T {
  if (!isObject(value)) return { ...base };
  const read = Object.entries(base).map(([name, fallback]) => {
    const member = value[name];
    if (typeof fallback === "boolean") return [name, member === true];
    return [name, readText(member, String(fallback))];
  });
  return Object.fromEntries(read) as T;
}
