// What wrangler would upload, run in workerd.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Gateway, Upstream, ok, temporary } from "./harness.js";

const project = join(dirname(fileURLToPath(import.meta.url)), "../..");

test("wrangler's bundle serves paid calls", async () => {
  const directory = await temporary();
  const bundle = join(directory.path, "bundle");
  const wrangler = createRequire(import.meta.url).resolve("wrangler/package.json");
  const cli = join(dirname(wrangler), "bin/wrangler.js");
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "true", NO_COLOR: "1" };
  const args = [cli, "deploy", "--dry-run", "--outdir", bundle];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: project, env });
  assert.match(stdout, /env\.TOLLGATE \(TollgateObject\)/);
  const files = await readdir(bundle);
  const entry = files.find((file) => file === "index.js");
  assert.ok(entry !== undefined, files.join());

  const upstream = await Upstream.start((_, response) => void response.end("sent"));
  const setup = { directory: directory.path, upstream: upstream.url, bundle };
  const gateway = await Gateway.start(setup);
  try {
    assert.equal((await gateway.ask("/messages")).json()["code"], "missing_token");
    await ok(gateway.admin("PUT", "accounts/acme", { balance: 8 }));
    const scopes = ["sms:send"];
    const made = await ok(gateway.admin("POST", "accounts/acme/tokens", { scopes }));
    const token = String(made.json()["token"]);
    const headers = { "idempotency-key": "a", "cf-connecting-ip": "192.0.2.1" };
    const asking = { method: "POST", headers, body: '{"to":"+49"}' };
    const first = await gateway.as(token, "/sms/send", asking);
    assert.deepEqual([first.status, first.body.toString()], [200, "sent"]);
    assert.equal(first.headers["x-ratelimit-limit"], "120");
    const again = await gateway.as(token, "/sms/send", asking);
    assert.equal(again.headers["idempotent-replayed"], "true");
    const other = { ...asking, headers: { ...headers, "idempotency-key": "b" } };
    const unpaid = await gateway.as(token, "/sms/send", other);
    assert.deepEqual([unpaid.status, unpaid.json()["code"]], [402, "insufficient_balance"]);
    const scope = await gateway.as(token, "/messages", { headers });
    assert.equal(scope.json()["code"], "insufficient_scope");
    assert.equal(upstream.received.length, 1);
    await gateway.expectMoney({ balance: 3, held: 0, posted: 5 });
  } finally {
    await gateway.stop();
    await upstream.stop();
    await directory.remove();
  }
});
