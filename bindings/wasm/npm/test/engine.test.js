// The engine through the package: what vectors do not show. Run by `npm test`, after the package is built.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { Admin, Engine, FlatCalls, MemoryStore, PolicyError, RefusedError, RequestError, TollgateError, generateToken, init, memoryBytes, version } from "tollgate";

const NOW_MS = 1_700_000_000_000;

await init();

async function start() {
  const engine = Engine.preset("sms-gateway");
  const store = new MemoryStore();
  const admin = new Admin(engine, store);
  const token = generateToken();
  await admin.putAccount({ id: "acme", balance: 1_000 }, NOW_MS);
  await admin.putToken({ token, account: "acme", scopes: Object.keys(engine.policy.scopes) }, NOW_MS);
  const headers = [["Authorization", `Bearer ${token}`]];
  return { engine, store, admin, token, get: { nowMs: NOW_MS, method: "GET", target: "/balance", headers, peer: "192.0.2.1" } };
}

test("nothing works before it is loaded, and says so", () => {
  const program = `import { Engine } from "tollgate"; try { new Engine("{}"); } catch (error) { console.log(error.code); }`;
  const printed = execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: import.meta.dirname });
  assert.equal(printed.toString().trim(), "not_initialized");
});

test("the version is the package's", async () => {
  const { default: manifest } = await import("../package.json", { with: { type: "json" } });
  assert.equal(version(), manifest.version);
});

test("errors have a class, a code, and places in a policy", async () => {
  const { engine, store, admin, token } = await start();
  assert.throws(
    () => new Engine('{\n  "limits": {"a": 3},\n  "answers": {"realm": 5}\n}'),
    (error) =>
      error instanceof PolicyError && error instanceof TollgateError && error.code === "policy_invalid" &&
      error.errors.some(({ place, line }) => place === "limits.a" && line === 2) && error.errors.some(({ line }) => line === 3),
  );
  const before = engine.policy;
  assert.throws(() => engine.reload({ limits: 1 }), PolicyError);
  assert.deepEqual(engine.policy, before, "a policy that does not compile changes nothing");
  await assert.rejects(admin.account("nobody", NOW_MS), (error) => error instanceof RefusedError && error.code === "unknown_account");
  await assert.rejects(admin.putToken({ token: `${token}x`, account: "acme" }, NOW_MS), (error) => {
    assert(error instanceof RequestError && error.code === "invalid_argument");
    return !error.message.includes(token);
  });
  assert.throws(() => Engine.preset("sms-gatewai"), /sms-gateway/);
  assert.throws(() => new Engine("{}", { pepper: new Uint8Array(3) }), RequestError);
  assert.throws(() => new MemoryStore({ maxTokens: -1 }), RequestError);
  assert.throws(() => new MemoryStore({ maxToken: 1 }), /maxToken/);
  assert.throws(() => engine.finish(store, { bytes: new Uint8Array(30) }, { kind: "void" }, NOW_MS), RequestError);
});

test("what is no request is refused with a text, whatever it is", async () => {
  const { engine, store, get } = await start();
  const odd = [undefined, null, 1, -1, 1.5, NaN, Infinity, "", "x", [], {}, Symbol("s"), () => {}, 2n ** 64n, -1n, [1], [[1, 2]], new Date(), "\u{100}"];
  for (const field of ["nowMs", "method", "target", "headers", "peer", "body", "cost", "sender", "invalid"]) {
    for (const value of odd) {
      try {
        const decision = engine.decide(store, { ...get, [field]: value });
        assert(["allow", "deny", "replay"].includes(decision.verdict));
      } catch (error) {
        assert(error instanceof TollgateError || error instanceof TypeError, `${field}: ${error}`);
        assert.notEqual(error.code, "internal");
      }
    }
  }
  for (const request of odd) assert.throws(() => engine.decide(store, request));
  assert.equal(engine.decide(store, get).verdict, "allow", "and the engine is as it was");
});

test("hostile flat bytes are refused, and never a trap", async () => {
  const { engine, store, get } = await start();
  const calls = new FlatCalls(engine, store);
  const length = calls.encode(get);
  const good = calls.reserve(length).slice(0, length);
  let seed = 1;
  const random = (below) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  let refused = 0;
  for (let round = 0; round < 60_000; round++) {
    const bytes = round % 3 === 0 ? Uint8Array.from({ length: random(120) }, () => random(256)) : good.slice(0, round % 3 === 1 ? random(good.length + 1) : good.length);
    for (let flips = random(6); flips > 0 && bytes.length > 0; flips--) bytes[random(Math.min(bytes.length, 60))] = random(256);
    calls.reserve(bytes.length).set(bytes);
    try {
      assert(calls.decide(bytes.length) >= 0);
    } catch (error) {
      assert(error instanceof RequestError, String(error));
      refused += 1;
    }
  }
  assert(refused > 10_000, `${refused}`);
  assert.equal(engine.decide((await start()).store, get).code, "invalid_token", "and the engine is as it was");
});

test("headers may be a Headers, pairs, or an object", async () => {
  const { engine, store, token, get } = await start();
  const value = `Bearer ${token}`;
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`x-${index}`, "v"]));
  for (const headers of [new Headers({ authorization: value }), [["AUTHORIZATION", value]], new Map([["authorization", value]]), { Authorization: value, ...many }]) {
    assert.equal(engine.decide(store, { ...get, headers }).verdict, "allow");
  }
  for (const headers of [{ authorization: [value, value] }, [["authorization", value], ["Authorization", value]], [["authorization", `${value}\u{ff}`]]]) {
    assert.equal(engine.decide(store, { ...get, headers }).code, "invalid_token");
  }
  assert.throws(() => engine.decide(store, { ...get, headers: [["authorization", "\u{20ac}"]] }), /above U\+00FF/);
});

test("a whole life: reserve, settle, replay, refund", async () => {
  const { engine, store, admin, get } = await start();
  const post = { ...get, method: "POST", target: "/sms/send", headers: [...get.headers, ["Idempotency-Key", "k"]], cost: 2n ** 9n, body: "hello" };
  const decision = engine.decide(store, post);
  assert.equal(decision.reserved, 512n);
  assert.equal(engine.decide(store, post).code, "idempotency_in_flight");
  const body = Uint8Array.from({ length: 70_000 }, (_, index) => index);
  const response = { status: 201, headers: [["X-Byte", "\u{e9}"]], body };
  assert.equal(engine.finish(store, decision.ticket, { kind: "settle", amount: 500, response }, NOW_MS), 500n);
  assert.equal(engine.finish(store, decision.ticket, { kind: "settle", amount: 500, response }, NOW_MS), 500n, "twice is as once");
  assert.throws(() => engine.finish(store, decision.ticket, { kind: "void" }, NOW_MS), RefusedError);
  const replay = engine.decide(store, post);
  assert.deepEqual([replay.verdict, replay.status, Buffer.compare(replay.body, body)], ["replay", 201, 0]);
  assert(replay.headers.some(([name, value]) => name === "X-Byte" && value === "\u{e9}"));
  assert.equal(engine.decide(store, { ...post, body: "other" }).code, "idempotency_key_reused");
  await admin.refund("acme", decision.ticket.reservation, 100, "r-1", NOW_MS);
  const { balance, posted, refunded, held } = await admin.account("acme", NOW_MS);
  assert.deepEqual([balance, posted, refunded, held], [600n, 500n, 100n, 0n]);
  const [reservation] = await admin.reservations("acme", NOW_MS);
  assert.deepEqual([reservation.state, reservation.posted, reservation.refunded], ["posted", 500n, 100n]);
  const [{ digest }] = await admin.tokens("acme", NOW_MS);
  await admin.revokeToken({ digest }, NOW_MS);
  assert.equal(engine.decide(store, post).code, "invalid_token");
});

test("memory does not grow over ten million decisions", async () => {
  const { engine, store, get } = await start();
  const calls = new FlatCalls(engine, store);
  // Two a second, which the limit allows.
  const decide = (index) => calls.decide(calls.encode({ ...get, nowMs: NOW_MS + index * 500 }));
  for (let index = 0; index < 10_000; index++) decide(index);
  const before = memoryBytes();
  let allowed = 0;
  for (let index = 10_000; index < 10_010_000; index++) {
    if (decide(index) === 0) allowed += 1;
    if (index % 10_000 === 0) assert(calls.answer().headers.length > 0);
  }
  assert.equal(allowed, 10_000_000);
  assert.equal(memoryBytes(), before);
});

test("what is freed is given back", () => {
  const make = () => {
    for (let index = 0; index < 200; index++) {
      const [engine, store] = [Engine.preset("sms-gateway"), new MemoryStore()];
      engine.decide(store, { nowMs: NOW_MS, method: "GET", target: "/", headers: [] });
      engine.free();
      store.free();
    }
  };
  make();
  const before = memoryBytes();
  for (let round = 0; round < 5; round++) make();
  assert.equal(memoryBytes(), before);
});

test("stores elsewhere are in the other build", async () => {
  const { engine, get } = await start();
  const store = { send: async () => new Uint8Array() };
  await assert.rejects(engine.decideAsync(store, get), (error) => error.code === "not_in_this_build" && /tollgate\/objects/.test(error.message));
});
