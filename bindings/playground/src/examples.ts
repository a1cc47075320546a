// What the page offers to begin with.

import { Engine, generateToken } from "tollgate";
import { toJson } from "./format.js";
import {
  DEFAULT_BURST,
  EMPTY_ACCOUNT,
  EMPTY_REQUEST,
  EMPTY_TOKEN,
  type Page,
} from "./model.js";

export interface Example {
  name: string;
  page: () => Page;
}

const MESSAGES = `# An API that sends messages and is paid from a wallet.

[tokens]
format = "opaque"   # any text, as another system's

[scopes]
"sms:send" = ["POST /sms/send"]
reports = ["GET /messages", "GET /messages/{id}"]

[limits.token]      # each token: 20 a minute
per = "token"
quota = 20
window_ms = 60_000

[routes."POST /sms/send"]
idempotency = true  # a retry sends nothing again
price = 5
`;

const SCENARIO = `{"op": "policy", "preset": "sms-gateway", "patch": {"tokens": {"format": "opaque"}}}
{"op": "account", "id": "acme", "balance": 10}
{"op": "token", "token": "t-1", "account": "acme", "scopes": ["sms:send"]}
{"op": "request", "id": "r1", "now_ms": 1700000000000, "method": "POST", "target": "/sms/send", "headers": [["Authorization", "Bearer t-1"], ["Idempotency-Key", "k-1"]], "peer": "192.0.2.1", "cost": 7, "expect": {"verdict": "allow", "reserved": 7}}
{"op": "request", "id": "r2", "now_ms": 1700000000100, "method": "POST", "target": "/sms/send", "headers": [["Authorization", "Bearer t-1"], ["Idempotency-Key", "k-1"]], "peer": "192.0.2.1", "cost": 7, "expect": {"status": 409, "code": "idempotency_in_flight"}}
{"op": "finish", "id": "r1", "now_ms": 1700000000200, "outcome": "settle", "response": {"status": 202, "headers": [], "body": "sent"}, "expect": {"settled": 7}}
{"op": "request", "id": "r3", "now_ms": 1700000000300, "method": "POST", "target": "/sms/send", "headers": [["Authorization", "Bearer t-1"], ["Idempotency-Key", "k-1"]], "peer": "192.0.2.1", "cost": 7, "expect": {"verdict": "replay", "status": 202, "body": "sent", "headers": {"Idempotent-Replayed": "true"}}}
{"op": "request", "id": "r4", "now_ms": 1700000000400, "method": "POST", "target": "/sms/send", "headers": [["Authorization", "Bearer t-1"]], "peer": "192.0.2.1", "cost": 7, "expect": {"status": 402, "code": "insufficient_balance"}}
{"op": "inspect", "account": "acme", "expect": {"balance": 3, "held": 0, "posted": 7}}
`;

const send = {
  ...EMPTY_REQUEST,
  target: "/sms/send",
  token: "demo-send",
  peer: "198.51.100.7",
  body: '{"to": "+41790000000", "text": "Hello"}',
};

function messages(): Page {
  return {
    policy: MESSAGES,
    accounts: [{ ...EMPTY_ACCOUNT, id: "acme", balance: "500" }],
    tokens: [
      { ...EMPTY_TOKEN, token: "demo-send", account: "acme", scopes: "sms:send" },
      { ...EMPTY_TOKEN, token: "demo-read", account: "acme", scopes: "reports" },
    ],
    request: { ...send, key: "order-1001" },
    scenario: SCENARIO,
    burst: DEFAULT_BURST,
    clockMs: Math.floor(Date.now() / 1000) * 1000,
  };
}

function preset(): Page {
  const page = messages();
  const token = generateToken();
  return {
    ...page,
    policy: `${toJson(Engine.preset("sms-gateway").policy, 2)}\n`,
    accounts: [{ ...EMPTY_ACCOUNT, id: "acme", balance: "1000", spendCaps: "day 200" }],
    tokens: [{ ...EMPTY_TOKEN, token, account: "acme", scopes: "sms:send otp balance" }],
    request: { ...send, target: "/otp/send", token, cost: "4" },
    burst: { ...DEFAULT_BURST, rate: "1", seconds: "120", cost: "4" },
  };
}

const WINDOWS = `# A request must pass all of its limits.

[tokens]
format = "opaque"

[scopes]
search = ["GET /search"]

# A bucket: 5 at once, then one every 500 ms.
[limits.burst]
per = "token"
quota = 120
window_ms = 60_000
burst = 5

# Never more than 60 in any minute, wherever it begins.
[limits.minute]
per = "account"
quota = 60
window_ms = 60_000
algorithm = "sliding_window"

# 100 from one multiple of two minutes to the next.
[limits.address]
per = "source_ip"
quota = 100
window_ms = 120_000
algorithm = "fixed_window"
`;

function windows(): Page {
  return {
    ...messages(),
    policy: WINDOWS,
    accounts: [{ ...EMPTY_ACCOUNT, id: "acme" }],
    tokens: [{ ...EMPTY_TOKEN, token: "demo-search", account: "acme", scopes: "search" }],
    request: { ...EMPTY_REQUEST, method: "GET", target: "/search?q=1", token: "demo-search" },
    burst: { ...DEFAULT_BURST, rate: "3", seconds: "180", answerMs: "50" },
  };
}

const SHADOW = `# New rules are watched before they are enforced:
# what they would deny is reported, and let through.

[tokens]
format = "opaque"

[source]
trusted_proxies = ["10.0.0.0/8"]
shadow_networks = true

[scopes]
lookup = ["POST /lookup"]

[limits.token]
per = "token"
quota = 100
window_ms = 60_000

[limits.tighter]
per = "account"
quota = 2
window_ms = 60_000
shadow = true

[routes."POST /lookup"]
price = 2
`;

function shadow(): Page {
  return {
    ...messages(),
    policy: SHADOW,
    accounts: [
      {
        ...EMPTY_ACCOUNT,
        id: "acme",
        balance: "300",
        networks: "203.0.113.0/24",
        spendCaps: "day 5 shadow",
      },
    ],
    tokens: [{ ...EMPTY_TOKEN, token: "demo-lookup", account: "acme", scopes: "lookup" }],
    request: {
      ...EMPTY_REQUEST,
      target: "/lookup",
      token: "demo-lookup",
      peer: "10.1.2.3",
      headers: "X-Forwarded-For: 198.51.100.7",
    },
  };
}

const EMPTY_POLICY = `# The default policy grants nothing and limits nothing.

[tokens]
format = "opaque"

[scopes]
all = ["GET /"]
`;

function blank(): Page {
  return {
    ...messages(),
    policy: EMPTY_POLICY,
    accounts: [],
    tokens: [],
    request: { ...EMPTY_REQUEST, method: "GET" },
    scenario: "",
  };
}

export const EXAMPLES: readonly Example[] = [
  { name: "Paid messages", page: messages },
  { name: "SMS gateway (preset, JSON)", page: preset },
  { name: "Three kinds of limits", page: windows },
  { name: "Shadow rules behind a proxy", page: shadow },
  { name: "Nearly empty", page: blank },
];

export const FIRST: Example = { name: "Paid messages", page: messages };
