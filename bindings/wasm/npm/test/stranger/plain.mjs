// A project without a compiler: what the package's README promises, in plain JavaScript.
import assert from "node:assert/strict";
import * as tollgate from "tollgate";
import { Session } from "tollgate/scenario";

await tollgate.init();
await tollgate.init(); // a second time is no error

const engine = tollgate.Engine.preset("sms-gateway");
const store = new tollgate.MemoryStore();
const admin = new tollgate.Admin(engine, store);
const nowMs = 1_700_000_000_000;
const token = tollgate.generateToken();
await admin.putAccount({ id: "acme", balance: 500 }, nowMs);
await admin.putToken({ token, account: "acme", scopes: ["sms:send"] }, nowMs);

const request = {
  nowMs,
  method: "POST",
  target: "/sms/send",
  headers: { authorization: `Bearer ${token}`, "idempotency-key": "order-1" },
  body: '{"to":"+15550100"}',
  cost: 5,
};
const first = engine.decide(store, request);
assert.equal(first.verdict, "allow");
assert.equal(first.reserved, 5n);
const response = { status: 201, headers: [], body: "sent" };
assert.equal(engine.finish(store, first.ticket, { kind: "settle", response }, nowMs), 5n);

const again = engine.decide(store, request);
assert.equal(again.verdict, "replay");
assert.equal(again.status, 201);
assert.equal(new TextDecoder().decode(again.body), "sent");
assert.equal((await admin.account("acme", nowMs)).balance, 495n);

const unknown = engine.decide(store, { ...request, headers: {} });
assert.equal(unknown.verdict, "deny");
assert.equal(unknown.status, 401);
assert.throws(() => new tollgate.Engine("{}}"), tollgate.PolicyError);

assert.equal(typeof new Session().step, "function");
store.free();
console.log("ok");
