// Stores elsewhere, and their objects: what vectors do not show.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Admin, Engine, StoreError, StoreObject, TollgateError, generateToken, init } from "tollgate/objects";

const NOW_MS = 1_700_000_000_000;

await init();

/** A map in memory that may be told to fail. */
class Entries {
  entries = new Map();
  failing = false;

  get(key) {
    return this.entries.get(Buffer.from(key).toString("hex"));
  }

  firstAtOrAfter(key) {
    const from = Buffer.from(key).toString("hex");
    const hex = [...this.entries.keys()].filter((known) => known >= from).sort()[0];
    return hex === undefined ? undefined : [Uint8Array.from(Buffer.from(hex, "hex")), this.entries.get(hex)];
  }

  commit(puts, removes) {
    if (this.failing) throw new Error("the disk is full");
    for (const [key, value] of puts) this.entries.set(Buffer.from(key).toString("hex"), value);
    for (const key of removes) this.entries.delete(Buffer.from(key).toString("hex"));
  }
}

/** Objects in this process; `lose` may throw before or after a message is performed. */
class Objects {
  maps = new Map();
  objects = new Map();
  sent = [];
  lose = () => {};

  async send({ object, message, repeatable }) {
    this.sent.push({ object, repeatable });
    await this.lose(object, "before");
    if (!this.objects.has(object)) {
      this.maps.set(object, new Entries());
      this.objects.set(object, new StoreObject(this.maps.get(object)));
    }
    const answer = this.objects.get(object).perform(message, Date.now());
    await this.lose(object, "after");
    return answer;
  }
}

async function start() {
  const engine = Engine.preset("sms-gateway");
  const store = new Objects();
  const admin = new Admin(engine, store);
  const token = generateToken();
  await admin.putAccount({ id: "acme", balance: 1_000 }, NOW_MS);
  await admin.putToken({ token, account: "acme", scopes: ["sms:send", "balance"] }, NOW_MS);
  const headers = [["authorization", `Bearer ${token}`]];
  const post = { nowMs: NOW_MS, method: "POST", target: "/sms/send", headers: [...headers, ["idempotency-key", "k"]], cost: 7, peer: "192.0.2.1" };
  const get = { nowMs: NOW_MS, method: "GET", target: "/balance", headers, peer: "192.0.2.1" };
  return { engine, store, admin, token, get, post };
}

test("a known token needs one message", async () => {
  const { engine, store, get, post } = await start();
  assert.equal((await engine.decideAsync(store, get)).verdict, "allow");
  store.sent.length = 0;
  assert.equal((await engine.decideAsync(store, get)).verdict, "allow");
  assert.equal(store.sent.length, 1);
  const decision = await engine.decideAsync(store, post);
  assert.equal(store.sent.length, 2);
  assert.equal(decision.account, "acme");
  assert.equal(await engine.finishAsync(store, decision.ticket, { kind: "settle" }, NOW_MS), 7n);
  assert(store.sent.at(-1).repeatable);
});

test("sixty-four at once: one goes through", async () => {
  const { engine, store, admin, post } = await start();
  const decisions = await Promise.all(Array.from({ length: 64 }, () => engine.decideAsync(store, post)));
  assert.equal(decisions.filter(({ verdict }) => verdict === "allow").length, 1);
  assert.equal(decisions.filter(({ code }) => code === "idempotency_in_flight").length, 63);
  assert.equal((await admin.account("acme", NOW_MS)).held, 7n);
});

test("messages that are lost hold, and never go through twice", async () => {
  const { engine, store, admin, post } = await start();
  for (const when of ["before", "after"]) {
    const headers = post.headers.map(([name, value]) => [name, name === "idempotency-key" ? when : value]);
    store.lose = (object, at) => {
      if (object.startsWith("account/") && at === when) throw new Error("the line is dead");
    };
    const lost = await engine.decideAsync(store, { ...post, headers });
    assert.deepEqual([lost.status, lost.code], [503, "store_unavailable"]);
    assert.match(lost.storeError, /the line is dead/);
    store.lose = () => {};
    const again = await engine.decideAsync(store, { ...post, headers });
    assert.equal(again.code ?? again.verdict, when === "before" ? "allow" : "idempotency_in_flight");
  }
  const account = await admin.account("acme", NOW_MS);
  assert.equal(account.balance + account.posted, 1_000n);
});

test("a map that fails changes nothing, and its text reaches the operator", async () => {
  const { engine, store, admin, post } = await start();
  const map = [...store.maps].find(([name]) => name.startsWith("account/"))[1];
  map.failing = true;
  const decision = await engine.decideAsync(store, post);
  assert.deepEqual([decision.code, /the disk is full/.test(decision.storeError)], ["store_unavailable", true]);
  await assert.rejects(admin.deposit("acme", 5, NOW_MS), (error) => error instanceof StoreError && error.code === "store_unavailable");
  map.failing = false;
  assert.equal((await engine.decideAsync(store, post)).verdict, "allow");
  assert.equal((await admin.account("acme", NOW_MS)).balance, 1_000n);
});

test("what is no message, no map and no answer is an error", async () => {
  const { engine, store, get } = await start();
  const object = new StoreObject(new Entries());
  for (const message of [new Uint8Array(), Uint8Array.of(255), new Uint8Array(100), Uint8Array.from({ length: 300 }, (_, i) => (i * 31) & 255)]) {
    assert.throws(() => object.perform(message, NOW_MS), StoreError);
  }
  const map = new Entries();
  map.commit = async () => {};
  assert.throws(() => new StoreObject(map), /promise is too late/);
  const foreign = new Entries();
  foreign.entries.set("ff", Uint8Array.of(1));
  assert.throws(() => new StoreObject(foreign), TollgateError);
  for (const answer of [undefined, "text", new Uint8Array(), Uint8Array.of(1, 2, 3)]) {
    store.send = async () => answer;
    assert.equal((await engine.decideAsync(store, get)).code, "store_unavailable");
  }
});

test("an alarm finds what is due", async () => {
  const { engine, store, admin, post } = await start();
  await engine.decideAsync(store, { ...post, headers: post.headers.slice(0, 1) });
  const [name] = [...store.objects.keys()].filter((object) => object.startsWith("account/"));
  const object = store.objects.get(name);
  let ended = 0n;
  for (let due = object.nextDueMs(NOW_MS); due !== undefined; due = object.nextDueMs(due)) ended += object.expire(due);
  assert.equal(ended, 1n);
  assert.equal((await admin.account("acme", NOW_MS)).held, 0n);
  assert(object.verify() > 0n);
  assert.equal(object.isEmpty(), false);
});
