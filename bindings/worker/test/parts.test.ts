// The parts by themselves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Admin, Engine, RefusedError, StoreError, StoreObject, init } from "tollgate/objects";
import type { KvMap, Outcome, Store, Ticket } from "tollgate/objects";

import { createGateway, resolved } from "../src/gateway.js";
import { defaultSettlement, settings } from "../src/options.js";
import { Open } from "../src/settlement.js";
import { ObjectsStore } from "../src/store.js";
import type { Objects } from "../src/store.js";
import { Gateway, Upstream, temporary } from "./harness.js";

const call = { object: "account/a", message: Uint8Array.of(1), repeatable: true };

/** Objects that fail as often as they are told to. */
function failing(times: number, error: object = new Error("lost")): Objects & { stubs: number } {
  const objects = {
    stubs: 0,
    idFromName: (name: string) => name as unknown as DurableObjectId,
    get: () => {
      const stub = ++objects.stubs;
      return {
        perform: async () => {
          if (stub <= times) {
            throw error;
          }
          return Uint8Array.of(stub);
        },
      };
    },
  };
  return objects;
}

test("a message that may be sent again is, through another stub", async () => {
  const objects = failing(2);
  assert.deepEqual(await new ObjectsStore(objects).send(call), Uint8Array.of(3));
  const never = failing(9);
  await assert.rejects(new ObjectsStore(never).send(call), /lost/);
  assert.equal(never.stubs, 3);
});

test("a message that may not be sent again is sent once", async () => {
  const objects = failing(1);
  await assert.rejects(new ObjectsStore(objects).send({ ...call, repeatable: false }), /lost/);
  assert.equal(objects.stubs, 1);
});

test("an object that has too much to do is left alone", async () => {
  const objects = failing(1, Object.assign(new Error("busy"), { overloaded: true }));
  await assert.rejects(new ObjectsStore(objects).send(call), /busy/);
  assert.equal(objects.stubs, 1);
});

function open(errors: unknown[]): { open: Open; outcomes: Outcome[]; told: unknown[] } {
  const outcomes: Outcome[] = [];
  const told: unknown[] = [];
  const engine = {
    finishAsync: async (_store: Store, _ticket: Ticket, outcome: Outcome) => {
      outcomes.push(outcome);
      if (errors.length > 0) {
        throw errors.shift();
      }
      return 0n;
    },
  };
  const ticket = { bytes: new Uint8Array(), reservation: 1n, reserved: 5n, holdsKey: true };
  const by = {
    engine: engine as unknown as Engine,
    store: { send: () => Promise.reject(new Error("not asked")) },
    clock: () => 0,
    account: "acme",
    onFinishError: (_ticket: Ticket, error: unknown) => void told.push(error),
  };
  return { open: new Open(by, ticket), outcomes, told };
}

const response = { status: 200, headers: [], body: "x" };

test("a request ends once", async () => {
  const { open: request, outcomes } = open([]);
  await Promise.all([request.end("charge", response), request.end("release")]);
  await request.end("unknown");
  assert.deepEqual(outcomes, [{ kind: "settle", response }]);
});

test("a settlement is tried three times, and then told", async () => {
  const lost = () => new StoreError("store_unavailable", "lost");
  const twice = open([lost(), lost()]);
  await twice.open.end("void", response);
  assert.equal(twice.outcomes.length, 3);
  assert.deepEqual(twice.told, []);
  const thrice = open([lost(), lost(), lost()]);
  await thrice.open.end({ charge: 3 }, response);
  assert.equal(thrice.told.length, 1);
  assert.deepEqual(thrice.outcomes[2], { kind: "settle", amount: 3, response });
});

test("a refused settlement is not tried again", async () => {
  const refused = open([new RefusedError("already_finished", "it has ended")]);
  await refused.open.end("unknown");
  assert.deepEqual([refused.outcomes.length, refused.told.length], [1, 1]);
});

test("Cloudflare's own answers for an origin are no answers of it", () => {
  const ends = (statuses: number[]) =>
    statuses.map((status) => defaultSettlement({ status } as Response));
  assert.deepEqual(ends([200, 204, 302]), ["charge", "charge", "charge"]);
  assert.deepEqual(ends([101, 400, 404, 500, 503]), Array(5).fill("void"));
  assert.deepEqual(ends([521, 523, 525, 526]), Array(4).fill("release"));
  assert.deepEqual(ends([520, 522, 524, 527, 530]), Array(5).fill("unknown"));
});

test("headers of one connection are never kept", () => {
  const options = { policy: {}, objects: () => failing(0), upstream: "http://x" };
  const kept = settings({ ...options, replayHeaders: ["X-Tag", "Set-Cookie", "Date"] });
  assert.deepEqual(kept.replayHeaders, ["x-tag"]);
});

test("no target changes the upstream's host", () => {
  const at = (upstream: string, target: string) => resolved(upstream, `https://api.example${target}`);
  assert.equal(at("http://up.example", "/a?b=//c"), "http://up.example/a?b=//c");
  assert.equal(at("http://up.example/v1/", "/a"), "http://up.example/v1/a");
  for (const target of ["//evil.example/a", "/\\evil.example", "/@evil.example", "/:80"]) {
    assert.equal(new URL(at("http://up.example:81", target)).host, "up.example:81");
  }
});

/** Objects in this process. */
function local(): Objects {
  const maps = new Map<string, StoreObject>();
  return {
    idFromName: (name) => name as unknown as DurableObjectId,
    get: (id) => ({
      perform: async (message) => {
        const name = id as unknown as string;
        const object = maps.get(name) ?? new StoreObject(inMemory());
        maps.set(name, object);
        return object.perform(message, Date.now());
      },
    }),
  };
}

function inMemory(): KvMap {
  const entries = new Map<string, Uint8Array>();
  const hex = (key: Uint8Array) => Buffer.from(key).toString("hex");
  return {
    get: (key) => entries.get(hex(key)),
    firstAtOrAfter: (key) => {
      const first = [...entries.keys()].sort().find((each) => each >= hex(key));
      const value = first === undefined ? undefined : entries.get(first);
      return first === undefined || value === undefined
        ? undefined
        : [new Uint8Array(Buffer.from(first, "hex")), value];
    },
    commit: (puts, removes) => {
      removes.forEach((key) => entries.delete(hex(key)));
      puts.forEach(([key, value]) => entries.set(hex(key), value));
    },
  };
}

const POLICY = {
  tokens: { format: "opaque" },
  scopes: { all: ["POST /pay"] },
  routes: { "POST /pay": { price: 5, idempotency: true } },
};

function context(): { ctx: ExecutionContext; done(): Promise<void> } {
  const waiting: Promise<unknown>[] = [];
  const ctx = { waitUntil: (work: Promise<unknown>) => void waiting.push(work) };
  return {
    ctx: ctx as unknown as ExecutionContext,
    done: async () => void (await Promise.all(waiting)),
  };
}

async function ask(
  gateway: ReturnType<typeof createGateway<object>>,
  key = "k",
): Promise<{ status: number; code: unknown }> {
  const headers = { authorization: "Bearer t", "idempotency-key": key };
  const request = new Request("https://api.example/pay", { method: "POST", headers });
  const { ctx, done } = context();
  const response = await gateway.fetch(request, {}, ctx);
  const text = await response.text();
  await done();
  const { code } = JSON.parse(text) as { code: unknown };
  return { status: response.status, code };
}

test("what fails is 503 as the engine answers it, and never a bare 500", async () => {
  await init();
  const logged = console.error;
  console.error = () => undefined;
  try {
    const unavailable = { status: 503, code: "store_unavailable" };
    const upstream = "http://127.0.0.1:9";
    const broken = createGateway({ policy: '{"x": 1}', objects: local, upstream });
    assert.deepEqual(await ask(broken), unavailable);
    const down = createGateway({ policy: POLICY, objects: () => failing(99), upstream });
    assert.deepEqual(await ask(down), unavailable);
    const unbound = createGateway({
      policy: POLICY,
      objects: () => {
        throw new Error("no binding");
      },
      upstream,
    });
    assert.deepEqual(await ask(unbound), unavailable);
    const hook = () => {
      throw new Error("a hook's own");
    };
    const objects = local();
    const hooked = createGateway({ policy: POLICY, objects: () => objects, upstream, cost: hook });
    assert.deepEqual(await ask(hooked), unavailable);
  } finally {
    console.error = logged;
  }
});

test("what fails before the upstream is asked costs nothing, and what fails after leaves the end unknown", async () => {
  await init();
  const objects = local();
  const store = new ObjectsStore(objects);
  const admin = new Admin(new Engine(POLICY), store);
  await admin.putAccount({ id: "acme", balance: 100 }, Date.now());
  await admin.putToken({ token: "t", account: "acme", scopes: ["all"] }, Date.now());
  const money = async () => {
    const { held, posted } = await admin.account("acme", Date.now());
    return [held, posted];
  };
  const logged = console.error;
  console.error = () => undefined;
  try {
    const hook = () => {
      throw new Error("a hook's own");
    };
    const options = { policy: POLICY, objects: () => objects };
    const nowhere = createGateway({ ...options, upstream: hook });
    assert.equal((await ask(nowhere)).status, 503);
    assert.deepEqual(await money(), [0n, 0n]);
    const answers = { fetch: async () => new Response("done") };
    const ruled = createGateway({ ...options, upstream: answers, settlement: hook });
    assert.equal((await ask(ruled)).status, 503);
    assert.deepEqual(await money(), [5n, 0n]);
    assert.deepEqual(await ask(ruled), { status: 409, code: "idempotency_in_flight" });
    const refused = { fetch: () => Promise.reject(new Error("refused")) };
    const released = createGateway({
      ...options,
      upstream: refused,
      errorSettlement: () => "release",
    });
    assert.deepEqual(await ask(released, "other"), { status: 502, code: "upstream_failed" });
    assert.deepEqual(await money(), [5n, 0n]);
  } finally {
    console.error = logged;
  }
});

test("a request costs as many messages as the README says", async () => {
  await init();
  const objects = local();
  const store = new ObjectsStore(objects);
  let sent: string[] = [];
  const counted: Store = {
    send: (call) => {
      sent.push(call.object.split("/")[0] ?? "");
      return store.send(call);
    },
  };
  const limits = {
    token: { per: "token", quota: 100, window_ms: 60_000 },
    address: { per: "source_ip", quota: 100, window_ms: 60_000, routes: ["GET /limited"] },
  };
  const scopes = { all: ["POST /pay", "GET /read", "GET /limited"] };
  const engine = new Engine({ ...POLICY, scopes, limits });
  const admin = new Admin(engine, store);
  await admin.putAccount({ id: "acme", balance: 100 }, Date.now());
  await admin.putToken({ token: "t", account: "acme", scopes: ["all"] }, Date.now());
  const ask = async (method: string, target: string, key?: string) => {
    sent = [];
    const headers: Record<string, string> = { authorization: "Bearer t" };
    if (key !== undefined) {
      headers["idempotency-key"] = key;
    }
    const request = { nowMs: Date.now(), method, target, headers, peer: "192.0.2.1" };
    const { ticket } = await engine.decideAsync(counted, request);
    const before = sent;
    sent = [];
    if (ticket !== undefined) {
      await engine.finishAsync(counted, ticket, { kind: "settle", response }, Date.now());
    }
    return [before.join(), sent.join()];
  };
  assert.deepEqual(await ask("GET", "/read"), ["tokens,account", ""], "the first of an isolate");
  assert.deepEqual(await ask("GET", "/read"), ["account", ""]);
  assert.deepEqual(await ask("GET", "/limited"), ["source,account", ""]);
  assert.deepEqual(await ask("POST", "/pay", "k"), ["account", "account"]);
  assert.deepEqual(await ask("POST", "/pay", "k"), ["account", ""], "a replay");
});

test("the map over SQLite is one in the order of its keys' bytes", async () => {
  const directory = await temporary();
  const upstream = await Upstream.start();
  const setup = { worker: "storage", directory: directory.path, upstream: upstream.url };
  const worker = await Gateway.start(setup);
  try {
    for (let seed = 1; seed <= 10; seed++) {
      assert.deepEqual((await worker.ask(`/${seed}`)).json(), { wrong: null }, `seed ${seed}`);
    }
    assert.deepEqual((await worker.ask("/half")).json(), { there: ["01"] });
  } finally {
    await worker.stop();
    await upstream.stop();
    await directory.remove();
  }
});
