// How requests end: the table of the README, row by row.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Gateway, Upstream, temporary } from "./harness.js";

let directory: Awaited<ReturnType<typeof temporary>>;
let upstream: Upstream;
let gateway: Gateway;

before(async () => {
  directory = await temporary();
  upstream = await Upstream.start();
  gateway = await Gateway.start({ directory: directory.path, upstream: upstream.url });
});

after(async () => {
  await gateway.stop();
  await upstream.stop();
  await directory.remove();
});

test("a success is posted and replayed", async () => {
  await gateway.account("acme", 100);
  const first = await gateway.pay("k-1");
  assert.equal(first.status, 200);
  assert.equal(first.headers["idempotent-replayed"], undefined);
  const again = await gateway.pay("k-1");
  assert.equal(again.status, 200);
  assert.equal(again.headers["idempotent-replayed"], "true");
  assert.deepEqual(again.body, first.body);
  assert.equal(upstream.received.length, 1);
  await gateway.expectMoney({ balance: 95, held: 0, posted: 5 });
});
