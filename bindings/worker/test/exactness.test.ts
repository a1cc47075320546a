// Many requests at once: whatever the order, the sums are exact.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Gateway, POLICY, Upstream, crowd, eventually, ok, temporary } from "./harness.js";

let directory: Awaited<ReturnType<typeof temporary>>;
let upstream: Upstream;

before(async () => {
  directory = await temporary();
  upstream = await Upstream.start();
});

after(async () => {
  await upstream.stop();
  await directory.remove();
});

async function within(policy: object, work: (gateway: Gateway) => Promise<void>): Promise<void> {
  upstream.received.length = 0;
  upstream.answering = (_, response) => void response.end("done");
  const own = await temporary();
  const gateway = await Gateway.start({ policy, directory: own.path, upstream: upstream.url });
  try {
    await work(gateway);
  } finally {
    await gateway.stop();
    await own.remove();
  }
}

function counted<T>(all: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const each of all) {
    counts.set(each, (counts.get(each) ?? 0) + 1);
  }
  return counts;
}

const HOUR_MS = 3_600_000;

test("of 2,000 requests, 50 at a time, exactly the quota of 500 pass", async () => {
  const limits = { token: { per: "token", quota: 500, window_ms: 1_000 * HOUR_MS } };
  await within({ ...POLICY, limits }, async (gateway) => {
    await gateway.account("acme", 0);
    const began = Date.now();
    const answers = await crowd(2_000, 50, () => gateway.as("t-acme", "/read"));
    const perSecond = Math.round((2_000_000 / (Date.now() - began)) * 10) / 10;
    console.log(`${perSecond} requests a second`);
    const statuses = counted(answers.map(({ status }) => status));
    assert.deepEqual([statuses.get(200), statuses.get(429)], [500, 1_500]);
    assert.equal(upstream.received.length, 500);
    const left = answers
      .filter(({ status }) => status === 200)
      .map(({ headers }) => Number(headers["x-ratelimit-remaining"]));
    assert.deepEqual(
      left.sort((a, b) => a - b),
      Array.from({ length: 500 }, (_, n) => n),
      "each of them was told another number of those that are left",
    );
  });
});

test("a limit by source address counts over all accounts", async () => {
  const limits = { address: { per: "source_ip", quota: 100, window_ms: 1_000 * HOUR_MS } };
  await within({ ...POLICY, limits }, async (gateway) => {
    const names = Array.from({ length: 8 }, (_, n) => `a-${n}`);
    await Promise.all(names.map((name) => gateway.account(name, 0)));
    const answers = await crowd(600, 40, (n) => {
      const headers = { "x-test-peer": `2001:db8:0:${n % 3}::${n}` };
      return gateway.as(`t-a-${n % 8}`, "/read", { headers });
    });
    const passed = answers.flatMap(({ status }, n) => (status === 200 ? [n % 3] : []));
    assert.deepEqual([...counted(passed).values()], [100, 100, 100], "100 for each /64");
    assert.equal(upstream.received.length, 300);
  });
});

test("of 64 duplicates at once, one is sent on", async () => {
  await within(POLICY, async (gateway) => {
    await gateway.account("acme", 1_000);
    upstream.answering = (_, response) => {
      setTimeout(() => response.end(`answer ${upstream.received.length}`), 100);
    };
    const answers = await crowd(64, 64, () => gateway.pay("one"));
    const fresh = answers.filter(
      ({ status, headers }) => status === 200 && headers["idempotent-replayed"] === undefined,
    );
    assert.equal(fresh.length, 1);
    assert.equal(upstream.received.length, 1);
    for (const { status, headers } of answers) {
      assert.ok(status === 409 || status === 200, `${status}`);
      assert.ok(status === 200 || headers["retry-after"] === "1");
    }
    for (const again of await crowd(64, 64, () => gateway.pay("one"))) {
      assert.deepEqual([again.status, again.headers["idempotent-replayed"]], [200, "true"]);
      assert.equal(again.body.toString(), "answer 1");
    }
    assert.equal(upstream.received.length, 1);
    await gateway.expectMoney({ balance: 995, held: 0, posted: 5 });
  });
});

test("money is conserved, whatever becomes of the requests", async () => {
  await within(POLICY, async (gateway) => {
    await gateway.account("acme", 2_000);
    upstream.answering = (request, response) => {
      const n = Number(request.headers["x-n"]);
      const answer = (): void => {
        switch (n % 4) {
          case 0:
            response.end("done");
            break;
          case 1:
            response.writeHead(200, { "x-charge": "2" }).end("cheaper");
            break;
          case 2:
            response.writeHead(503).end("no");
            break;
          default:
            response.write("half");
            setTimeout(() => response.end(", whole"), 30);
        }
      };
      setTimeout(answer, n % 30);
    };
    let deposits = 2_000;
    let left = 0;
    await crowd(500, 50, async (n) => {
      if (n % 25 === 0) {
        await ok(gateway.admin("POST", "accounts/acme/deposits", { amount: 7 }));
        deposits += 7;
      }
      const headers = { "x-n": String(n) };
      if (n % 5 !== 0) {
        return void (await gateway.pay(`k-${n}`, headers));
      }
      const client = gateway.beginToPay(`k-${n}`, headers);
      await new Promise((resolve) => setTimeout(resolve, n % 40));
      client.destroy();
      left += 1;
    });
    assert.equal(left, 100);
    await eventually(async () => {
      const { held } = await gateway.money();
      return held === 0 ? undefined : `${held} are held`;
    }, 10_000);
    const { balance = 0, posted = 0, deposited } = await gateway.money();
    assert.equal(deposited, deposits);
    assert.equal(balance + posted, deposits);
    // What was answered with success was paid for, and nothing else.
    const ends = [5, 2, 0, 5];
    let due = 0;
    for (const { headers } of upstream.received) {
      due += ends[Number(headers["x-n"]) % 4] ?? 0;
    }
    assert.equal(posted, due);
    for (const [key, count] of upstream.byKey()) {
      assert.equal(count, 1, key);
    }
    // Retries change nothing.
    const again = await crowd(500, 50, (n) => gateway.pay(`k-${n}`, { "x-n": String(n) }));
    assert.ok(again.every(({ status }) => status !== 409));
    for (const [key, count] of upstream.byKey()) {
      assert.equal(count, 1, key);
    }
  });
});

test("the wallet is never overdrawn", async () => {
  await within(POLICY, async (gateway) => {
    await gateway.account("acme", 100);
    const answers = await crowd(200, 50, (n) => gateway.pay(`k-${n}`));
    const statuses = counted(answers.map(({ status }) => status));
    assert.deepEqual([statuses.get(200), statuses.get(402)], [20, 180]);
    await gateway.expectMoney({ balance: 0, held: 0, posted: 100 });
  });
});

test("a revocation is in force once it is answered", async () => {
  await within(POLICY, async (gateway) => {
    await gateway.account("acme", 100);
    for (let round = 0; round < 10; round++) {
      const token = `t-round-${round}`;
      await ok(gateway.admin("POST", "accounts/acme/tokens", { token, scopes: ["all"] }));
      let revoked = false;
      const late: number[] = [];
      const asking = crowd(60, 10, async () => {
        const after = revoked;
        const { status } = await gateway.as(token, "/read");
        if (after) {
          late.push(status);
        }
      });
      await ok(gateway.admin("POST", "tokens/revoke", { token }));
      revoked = true;
      await asking;
      late.push((await gateway.as(token, "/read")).status);
      assert.ok(
        late.every((status) => status === 401),
        `${late.join()}`,
      );
    }
  });
});

test("an alarm ends a lease, when it is due and not before", async () => {
  const policy = { ...POLICY, reservations: { lease_ms: 1_500 } };
  await within(policy, async (gateway) => {
    await gateway.account("acme", 100);
    upstream.answering = (_, response) => void response.destroy();
    assert.equal((await gateway.pay("lost")).status, 502);
    const before = await gateway.seen("account/acme");
    assert.equal(before.alarms, 0);
    assert.ok(before.alarmMs !== null && before.alarmMs > Date.now(), "it is set");
    assert.ok(before.alarmMs <= Date.now() + 1_500, "and not for later than the lease");
    await eventually(async () => {
      const { alarms } = await gateway.seen("account/acme");
      return alarms > 0 ? undefined : "no alarm";
    });
    assert.ok(Date.now() >= before.alarmMs);
    assert.equal((await gateway.seen("account/acme")).alarms, 1, "one is enough");
    const reservations = await ok(gateway.admin("GET", "accounts/acme/reservations"));
    assert.match(JSON.stringify(reservations.json()), /expired|voided|\[\]/);
    await gateway.expectMoney({ balance: 100, held: 0, posted: 0 });
    assert.equal((await gateway.pay("lost")).status, 409, "nobody knows whether it was done");
  });
});
