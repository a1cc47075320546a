// The administration API.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Gateway, POLICY, SECRET, Upstream, ok, temporary } from "./harness.js";

let directory: Awaited<ReturnType<typeof temporary>>;
let upstream: Upstream;
let gateway: Gateway;

before(async () => {
  directory = await temporary();
  upstream = await Upstream.start((_, response) => void response.end("done"));
  const policy = { ...POLICY, tokens: { format: "native" } };
  gateway = await Gateway.start({ policy, directory: directory.path, upstream: upstream.url });
});

after(async () => {
  await gateway.stop();
  await upstream.stop();
  await directory.remove();
});

const call = (method: string, path: string, body?: object) => gateway.admin(method, path, body);

test("from an account and a token to a paid call, and back", async () => {
  const created = await ok(call("PUT", "accounts/acme", { balance: 100, senders: ["ACME"] }));
  assert.equal(created.json()["balance"], 100);
  assert.equal(created.headers["cache-control"], "no-store");

  const made = await ok(call("POST", "accounts/acme/tokens", { scopes: ["all"] }));
  const token = String(made.json()["token"]);
  assert.match(token, /^tg_live_[0-9A-Za-z]+$/);
  const listed = await ok(call("GET", "accounts/acme/tokens"));
  assert.ok(!listed.body.includes(token), "it is shown once");
  const [view] = listed.json()["tokens"] as Record<string, unknown>[];
  assert.deepEqual([view?.["scopes"], view?.["revoked"]], [["all"], false]);

  assert.equal((await gateway.pay("k-1", {}, token)).status, 200);
  await gateway.expectMoney({ balance: 95, posted: 5, held: 0 });
  const { reservations } = (await ok(call("GET", "accounts/acme/reservations"))).json() as {
    reservations: { id: number; state: string; amount: number }[];
  };
  assert.deepEqual([reservations.length, reservations[0]?.state], [1, "posted"]);

  const refund = { amount: 3, reference: "ticket 7" };
  const path = `accounts/acme/reservations/${reservations[0]?.id}/refund`;
  const refunded = (await ok(call("POST", path, refund))).json();
  assert.deepEqual([refunded["balance"], refunded["refunded"]], [98, 3]);
  const twice = await call("POST", path, { ...refund, amount: 2 });
  assert.equal(twice.status, 409, twice.body.toString());

  const deposited = await ok(call("POST", "accounts/acme/deposits", { amount: 50 }));
  assert.equal(deposited.json()["balance"], 148);
  assert.deepEqual((await ok(call("GET", "accounts"))).json()["accounts"], ["acme"]);
});

test("a token is rotated, and revoked by its text or its digest", async () => {
  await ok(call("PUT", "accounts/rotating", { balance: 10 }));
  const make = async () => {
    const made = await ok(call("POST", "accounts/rotating/tokens", { scopes: ["all"] }));
    return String(made.json()["token"]);
  };
  const reads = async (token: string) => (await gateway.as(token, "/read")).status;
  const old = await make();
  const rotated = await ok(call("POST", "tokens/rotate", { token: old, grace_ms: 0 }));
  const replacement = String(rotated.json()["token"]);
  assert.deepEqual([await reads(old), await reads(replacement)], [401, 200]);
  await ok(call("POST", "tokens/revoke", { token: replacement }));
  assert.equal(await reads(replacement), 401);

  const other = await make();
  const { tokens } = (await ok(call("GET", "accounts/rotating/tokens"))).json() as {
    tokens: { digest: string; revoked: boolean }[];
  };
  for (const { digest, revoked } of tokens) {
    if (!revoked) {
      await ok(call("POST", "tokens/revoke", { digest }));
    }
  }
  assert.equal(await reads(other), 401);
});

test("an operator resolves a request whose end nobody knows", async () => {
  await ok(call("PUT", "accounts/lost", { balance: 20 }));
  const made = await ok(call("POST", "accounts/lost/tokens", { scopes: ["all"] }));
  const token = String(made.json()["token"]);
  upstream.answering = (_, response) => void response.destroy();
  const ends = [
    ["settle", { outcome: "settle", response: { status: 200, headers: [], body: "it was" } }],
    ["void", { outcome: "void" }],
  ] as const;
  for (const [key] of ends) {
    assert.equal((await gateway.pay(key, {}, token)).status, 502);
  }
  const { reservations } = (await ok(call("GET", "accounts/lost/reservations"))).json() as {
    reservations: { id: number; state: string }[];
  };
  assert.deepEqual(
    reservations.map(({ state }) => state),
    ["held", "held"],
  );
  for (const [n, [, body]] of ends.entries()) {
    const path = `accounts/lost/reservations/${reservations[n]?.id}/resolve`;
    const { posted } = (await ok(call("POST", path, body))).json();
    assert.equal(posted, n === 0 ? 5 : 0);
  }
  await gateway.expectMoney({ balance: 15, held: 0 }, "lost");
  upstream.answering = (_, response) => void response.end("afresh");
  assert.equal((await gateway.pay("settle", {}, token)).body.toString(), "it was");
  assert.equal((await gateway.pay("void", {}, token)).body.toString(), "afresh");
});

test("settings of an account and a token hold", async () => {
  const caps = [{ per: "day", amount: 7 }];
  await ok(call("PUT", "accounts/capped", { balance: "9007199254740993", spend_caps: caps }));
  const shown = await ok(call("GET", "accounts/capped"));
  assert.match(shown.body.toString(), /"balance":9007199254740993[,}]/, "exact to the unit");
  assert.deepEqual(shown.json()["spend_caps"], [{ per: "day", amount: 7, shadow: false }]);
  const settings = { scopes: ["all"], networks: ["192.0.2.0/24"], expires_ms: 4_000_000_000_000 };
  const made = await ok(call("POST", "accounts/capped/tokens", settings));
  const token = String(made.json()["token"]);
  assert.equal((await gateway.pay("1", {}, token)).status, 200);
  assert.equal((await gateway.pay("2", {}, token)).json()["code"], "spend_cap_exceeded");
  const elsewhere = await gateway.pay("3", { "x-test-peer": "198.51.100.1" }, token);
  assert.equal(elsewhere.json()["code"], "ip_not_allowed");
  const changed = { token, quota: { limit: 1, window_ms: 1_000 }, expires_ms: null };
  await ok(call("POST", "accounts/capped/tokens", changed));
});

test("explain says what would be decided, and consumes nothing", async () => {
  const request = { method: "GET", target: "/read", headers: [["authorization", "Bearer x"]] };
  const told = (await ok(call("POST", "explain", request))).json();
  assert.deepEqual([told["verdict"], told["code"]], ["deny", "invalid_token"]);
  assert.ok(Array.isArray(told["steps"]) && told["steps"].length > 0);
});

test("errors say what is wrong, and change nothing", async () => {
  const cases: [string, string, object | undefined, number, string][] = [
    ["GET", "accounts/nobody", undefined, 404, "unknown_account"],
    ["POST", "accounts/nobody/deposits", { amount: 1 }, 404, "unknown_account"],
    ["POST", "accounts/acme/deposits", {}, 400, "malformed"],
    ["POST", "accounts/acme/deposits", { amount: -1 }, 400, "malformed"],
    ["POST", "accounts/acme/deposits", { amount: 1.5 }, 400, "malformed"],
    ["POST", "accounts/acme/deposits", { amount: 2 ** 60 }, 400, "malformed"],
    ["POST", "accounts/acme/deposits", { amount: 1, currency: "EUR" }, 400, "malformed"],
    ["PUT", "accounts/acme", { networks: ["x"] }, 400, "invalid_argument"],
    ["PUT", "accounts/%ff", {}, 400, "malformed"],
    ["POST", "tokens/revoke", {}, 400, "malformed"],
    ["POST", "accounts/acme/tokens", { token: "short" }, 400, "invalid_argument"],
    ["POST", "accounts/acme/reservations/x/resolve", { outcome: "void" }, 400, "malformed"],
    ["POST", "accounts/acme/reservations/1/resolve", { outcome: "lost" }, 400, "malformed"],
    ["DELETE", "accounts/acme", undefined, 404, "unknown_call"],
    ["GET", "", undefined, 404, "unknown_call"],
  ];
  const before = await gateway.money();
  for (const [method, path, body, status, code] of cases) {
    const answer = await call(method, path, body);
    const said = `${method} ${path} ${JSON.stringify(body)}: ${answer.body.toString()}`;
    assert.deepEqual([answer.status, answer.json()["code"]], [status, code], said);
    assert.ok(String(answer.json()["message"]).length > 10, said);
  }
  assert.deepEqual(await gateway.money(), before);
});

test("without the secret there is nothing to see", async () => {
  const wrong = ["", "Bearer", "Bearer x", `Bearer ${SECRET}x`, `Basic ${SECRET}`, SECRET];
  for (const authorization of wrong) {
    const headers: Record<string, string> = authorization === "" ? {} : { authorization };
    const answer = await gateway.ask("/-/tollgate/accounts", { headers });
    assert.deepEqual([answer.status, answer.json()["code"]], [401, "invalid_admin_token"]);
    assert.equal(answer.headers["www-authenticate"], "Bearer");
  }
  assert.ok(upstream.received.every(({ url }) => !url.includes("tollgate")), "none is forwarded");
});

for (const secret of [undefined, "short"]) {
  test(`with the secret ${String(secret)} the API is off`, async () => {
    const own = await temporary();
    const bindings = secret === undefined ? {} : { TOLLGATE_ADMIN_TOKEN: secret };
    const off = await Gateway.start({
      worker: "index",
      directory: own.path,
      upstream: upstream.url,
      bindings,
      secret: false,
    });
    try {
      const headers = { authorization: `Bearer ${secret ?? ""}` };
      const answer = await off.ask("/-/tollgate/accounts", { headers });
      assert.deepEqual([answer.status, answer.json()["code"]], [404, "administration_off"]);
      assert.equal((await off.ask("/messages")).json()["code"], "missing_token");
    } finally {
      await off.stop();
      await own.remove();
    }
  });
}

test("no secret is in a log", () => {
  const logs = gateway.logs.join("\n");
  assert.ok(!logs.includes(SECRET));
  assert.doesNotMatch(logs, /tg_live_/);
});
