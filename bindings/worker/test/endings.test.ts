// How requests end: the table of the README, row by row.

import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";

import { Gateway, Upstream, eventually, temporary } from "./harness.js";
import type { Answering } from "./harness.js";

let directory: Awaited<ReturnType<typeof temporary>>;
let upstream: Upstream;
let gateway: Gateway;
let account = 0;
let token = "";
let name = "";

before(async () => {
  directory = await temporary();
  upstream = await Upstream.start();
  gateway = await Gateway.start({
    directory: directory.path,
    upstream: upstream.url,
    bindings: { UPSTREAM_TIMEOUT_MS: "1500" },
  });
});

after(async () => {
  await gateway.stop();
  await upstream.stop();
  await directory.remove();
});

/** Each test has an account of its own, with 100 to spend, and says what the upstream does. */
beforeEach(async () => {
  name = `a-${++account}`;
  token = `t-${name}`;
  await gateway.account(name, 100);
  upstream.received.length = 0;
  answering((_, response) => void response.writeHead(200, { "x-tag": "1" }).end("done"));
});

function answering(answering: Answering): void {
  upstream.answering = answering;
}

const pay = (key: string, headers: Record<string, string> = {}) => gateway.pay(key, headers, token);

async function expectMoney(balance: number, held: number, posted: number): Promise<void> {
  await gateway.expectMoney({ balance, held, posted }, name);
}

async function reached(count: number): Promise<void> {
  await eventually(async () =>
    upstream.received.length >= count ? undefined : `${upstream.received.length} requests`,
  );
}

test("a success is posted and replayed", async () => {
  answering((_, response) => void response.writeHead(201, { location: "/paid/1" }).end("paid"));
  const first = await pay("k");
  assert.equal(first.status, 201);
  assert.equal(first.headers["idempotent-replayed"], undefined);
  const again = await pay("k");
  assert.equal(again.status, 201);
  assert.equal(again.headers["idempotent-replayed"], "true");
  assert.equal(again.headers.location, "/paid/1");
  assert.equal(again.body.toString(), "paid");
  assert.equal(upstream.received.length, 1);
  assert.equal(upstream.received[0]?.body.toString(), '{"to":1}');
  assert.equal(upstream.received[0]?.headers["x-account"], name);
  assert.equal(upstream.received[0]?.headers["x-reserved"], "5");
  await expectMoney(95, 0, 5);
});

for (const status of [404, 422, 500, 503]) {
  test(`${status} of the upstream costs nothing and is replayed`, async () => {
    answering((_, response) => void response.writeHead(status).end("no"));
    assert.equal((await pay("k")).status, status);
    const again = await pay("k");
    assert.deepEqual([again.status, again.body.toString()], [status, "no"]);
    assert.equal(again.headers["idempotent-replayed"], "true");
    assert.equal(upstream.received.length, 1);
    await expectMoney(100, 0, 0);
  });
}

test("a redirection is passed on, posted and replayed", async () => {
  answering((_, response) => void response.writeHead(303, { location: "/elsewhere" }).end());
  for (const replayed of [undefined, "true"]) {
    const answer = await pay("k");
    assert.deepEqual([answer.status, answer.headers.location], [303, "/elsewhere"]);
    assert.equal(answer.headers["idempotent-replayed"], replayed);
  }
  await expectMoney(95, 0, 5);
});

test("what the upstream says that it cost is posted", async () => {
  answering((_, response) => void response.writeHead(200, { "x-charge": "2" }).end());
  await pay("k");
  await expectMoney(98, 0, 2);
});

test("a request without a key is posted too", async () => {
  const answer = await gateway.as(token, "/pay", { method: "POST", body: "{}" });
  assert.equal(answer.body.toString(), "done");
  await expectMoney(95, 0, 5);
});

test("204 and 304 have no body, and are replayed", async () => {
  for (const status of [204, 304]) {
    answering((_, response) => void response.writeHead(status, { etag: '"1"' }).end());
    for (const replayed of [undefined, "true"]) {
      const answer = await pay(`k-${status}`);
      assert.deepEqual([answer.status, answer.headers.etag], [status, '"1"']);
      assert.equal(answer.headers["idempotent-replayed"], replayed);
    }
  }
});

test("HEAD is settled by its head, and replayed with the length of what GET gives", async () => {
  answering((_, response) => void response.writeHead(200, { "content-length": "1234" }).end());
  for (const replayed of [undefined, "true"]) {
    const headers = { "idempotency-key": "k" };
    const answer = await gateway.as(token, "/paid", { method: "HEAD", headers });
    assert.deepEqual([answer.status, answer.headers["content-length"]], [200, "1234"]);
    assert.equal(answer.headers["idempotent-replayed"], replayed);
  }
  await expectMoney(97, 0, 3);
});

test("an upstream that closes without an answer leaves the end unknown", async () => {
  answering((_, response) => void response.destroy());
  const answer = await pay("k");
  assert.deepEqual([answer.status, answer.json()["code"]], [502, "upstream_failed"]);
  const again = await pay("k");
  assert.deepEqual([again.status, again.json()["code"]], [409, "idempotency_in_flight"]);
  assert.equal(upstream.received.length, 1);
  await expectMoney(100, 5, 0);
});

test("no head in time is 504, and leaves the end unknown", async () => {
  answering(() => undefined);
  const answer = await pay("k");
  assert.deepEqual([answer.status, answer.json()["code"]], [504, "upstream_timeout"]);
  assert.equal((await pay("k")).status, 409);
  await expectMoney(100, 5, 0);
});

for (const length of [undefined, "20"]) {
  const how = length === undefined ? "chunks" : "a known length";
  test(`a body in ${how} that breaks off leaves the end unknown`, async () => {
    answering((_, response) => {
      response.writeHead(200, length === undefined ? {} : { "content-length": length });
      response.write("half");
      setTimeout(() => response.destroy(), 50);
    });
    const client = gateway.beginToPay("k", {}, token);
    const [response] = (await once(client, "response")) as [IncomingMessage];
    response.resume();
    if (length !== undefined) {
      // In chunks, workerd writes a last one whatever happened.
      await assert.rejects(once(response, "end"), "the client sees that it is not whole");
    }
    await expectMoney(100, 5, 0);
    assert.equal((await pay("k")).status, 409);
  });
}

test("a client that leaves before the answer is as one that stayed", async () => {
  let held: ServerResponse | undefined;
  answering((_, response) => {
    held = response;
  });
  const client = gateway.beginToPay("k", {}, token);
  await reached(1);
  client.destroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  held?.end("after it left");
  await expectMoney(95, 0, 5);
  const again = await pay("k");
  assert.equal(again.headers["idempotent-replayed"], "true");
  assert.equal(again.body.toString(), "after it left");
});

test("a client that leaves amid the answer finds all of it", async () => {
  let held: ServerResponse | undefined;
  answering((_, response) => {
    response.write("first");
    held = response;
  });
  const client = gateway.beginToPay("k", {}, token);
  const [response] = (await once(client, "response")) as [IncomingMessage];
  await once(response, "data");
  client.destroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  held?.end(", second");
  await expectMoney(95, 0, 5);
  assert.equal((await pay("k")).body.toString(), "first, second");
});

// workerd finds that a client has left when it writes to it.
test("carrying on has a bound: then the head settles, without a body", async () => {
  let dripping: NodeJS.Timeout | undefined;
  answering((_, response) => {
    response.write("first");
    dripping = setInterval(() => response.write("."), 100);
    response.on("close", () => clearInterval(dripping));
  });
  const client = gateway.beginToPay("k", {}, token);
  const [response] = (await once(client, "response")) as [IncomingMessage];
  await once(response, "data");
  client.destroy();
  await new Promise((resolve) => setTimeout(resolve, 600));
  await expectMoney(100, 5, 0);
  await expectMoney(95, 0, 5);
  const again = await pay("k");
  assert.equal(again.headers["idempotent-replayed"], "true");
  assert.equal(again.body.length, 0);
});

test("carrying on has a bound: without a head the end is unknown", async () => {
  answering(() => undefined);
  const client = gateway.beginToPay("k", {}, token);
  await reached(1);
  client.destroy();
  await new Promise((resolve) => setTimeout(resolve, 1_800));
  await expectMoney(100, 5, 0);
  assert.equal((await pay("k")).status, 409);
});

test("an upstream that is down leaves the end unknown", async () => {
  const down = await Upstream.start();
  const { url } = down;
  await down.stop();
  const other = await temporary();
  const gateway = await Gateway.start({ directory: other.path, upstream: url });
  try {
    await gateway.account("acme", 100);
    const answer = await gateway.pay("k");
    assert.deepEqual([answer.status, answer.json()["code"]], [502, "upstream_failed"]);
    assert.equal((await gateway.pay("k")).status, 409);
    await gateway.expectMoney({ balance: 100, held: 5 });
  } finally {
    await gateway.stop();
    await other.remove();
  }
});

test("whoever has all bytes of a known length finds them replayed", async () => {
  for (let round = 0; round < 20; round++) {
    const key = `k-${round}`;
    const client = gateway.beginToPay(key, { "x-test-cost": "1" }, token);
    const [response] = (await once(client, "response")) as [IncomingMessage];
    let seen = 0;
    while (seen < 4) {
      const [part] = (await once(response, "data")) as [Buffer];
      seen += part.length;
    }
    const again = await pay(key, { "x-test-cost": "1" });
    assert.equal(again.headers["idempotent-replayed"], "true", `round ${round}: ${again.status}`);
  }
});

test("Set-Cookie reaches its client and nobody else", async () => {
  answering((_, response) => {
    response.writeHead(200, { "set-cookie": ["a=1", "b=2"], "content-type": "text/x" }).end("x");
  });
  assert.deepEqual((await pay("k")).headers["set-cookie"], ["a=1", "b=2"]);
  const again = await pay("k");
  assert.equal(again.headers["set-cookie"], undefined);
  assert.equal(again.headers["content-type"], "text/x");
});

test("encoded bytes are passed on and kept as they are", async () => {
  const bytes = gzipSync("text ".repeat(1_000));
  answering((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-length": bytes.length });
    response.end(bytes);
  });
  for (const replayed of [undefined, "true"]) {
    const answer = await pay("k", { "accept-encoding": "gzip" });
    assert.equal(answer.headers["content-encoding"], "gzip");
    assert.equal(answer.headers["idempotent-replayed"], replayed);
    assert.deepEqual(answer.body, bytes);
  }
});
