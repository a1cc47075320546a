// workerd is killed amid its work, and started again over the same directory.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gateway, POLICY, Upstream, crowd, eventually, temporary } from "./harness.js";
import type { Answer } from "./harness.js";

const LEASE_MS = 3_000;
const policy = { ...POLICY, reservations: { lease_ms: LEASE_MS } };

for (const answers of [1, 40, 150]) {
  test(`killed after ${answers} answers: nothing is lost, and nothing done twice`, async () => {
    const directory = await temporary();
    const upstream = await Upstream.start((request, response) => {
      setTimeout(() => response.end(`for ${String(request.headers["idempotency-key"])}`), 10);
    });
    const setup = { policy, directory: directory.path, upstream: upstream.url };
    let gateway = await Gateway.start(setup);
    try {
      await gateway.account("acme", 1_000_000);
      const answered = new Map<string, Answer>();
      let killed = false;
      const load = crowd(4_000, 30, async (n) => {
        const key = `k-${n}`;
        if (killed) {
          return;
        }
        const answer = await gateway.pay(key).catch(() => undefined);
        if (answer?.status === 200) {
          answered.set(key, answer);
        }
      });
      await eventually(async () =>
        answered.size >= answers ? undefined : `${answered.size} answers`,
      );
      killed = true;
      await gateway.kill();
      await load;
      assert.ok(answered.size > 0, "some were answered");
      const begun = upstream.byKey();
      assert.ok(begun.size >= answered.size);

      gateway = await Gateway.start(setup);
      let conflicts = 0;
      for (const key of begun.keys()) {
        const again = await gateway.pay(key);
        const before = answered.get(key);
        if (before !== undefined) {
          assert.equal(again.headers["idempotent-replayed"], "true", key);
          assert.equal(again.body.toString(), before.body.toString());
        } else if (again.status === 409) {
          conflicts += 1;
        } else {
          assert.equal(again.headers["idempotent-replayed"], "true", `${key}: ${again.status}`);
        }
      }
      for (const [key, count] of upstream.byKey()) {
        assert.equal(count, 1, `${key} was sent on ${count} times`);
      }
      const posted = begun.size - conflicts;
      console.log(`${answered.size} answered, ${posted} settled, ${conflicts} in flight`);

      // The money of those whose holder died comes free without anybody's asking.
      await eventually(
        async () => {
          const { alarms, alarmMs } = await gateway.seen("account/acme");
          return alarms > 0 || alarmMs === null || conflicts === 0 ? undefined : "no alarm fired";
        },
        LEASE_MS + 5_000,
      );
      await gateway.expectMoney({ held: 0, posted: posted * 5, deposited: 1_000_000 });
      await gateway.expectMoney({ balance: 1_000_000 - posted * 5 });
    } finally {
      await gateway.stop();
      await upstream.stop();
      await directory.remove();
    }
  });
}
