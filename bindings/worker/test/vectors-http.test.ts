// tests/vectors through the gateway, as far as HTTP carries them.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { check } from "tollgate/objects/scenario";

import { Gateway, Upstream, crowd, temporary } from "./harness.js";
import { Arrivals, NotCarried, Session } from "./scenarios.js";
import type { Json } from "./scenarios.js";

const vectors = join(dirname(fileURLToPath(import.meta.url)), "../../../../tests/vectors");

interface Scenario {
  name: string;
  steps: Json[];
}

/** Why a scenario is not for a gateway, and of how many that holds. All others reply as expected. */
const NOT_CARRIED: Record<string, number> = {};

function holdsLargeNumbers(value: unknown): boolean {
  if (typeof value === "number") {
    return !Number.isSafeInteger(value);
  }
  return typeof value === "object" && value !== null && Object.values(value).some(holdsLargeNumbers);
}

/** What of a step's expectations a client of HTTP can see. */
function visible(step: Json, reply: Json): Json {
  const expect = { ...(step["expect"] as Json | undefined) };
  if (step["op"] === "request" && reply["verdict"] === "allow") {
    // They come with the end.
    delete expect["headers"];
  }
  if (step["op"] === "request" && reply["verdict"] !== "allow") {
    delete expect["account"];
    delete expect["route"];
  }
  if (step["method"] === "HEAD") {
    delete expect["body"];
    delete expect["code"];
  }
  if (step["op"] === "parallel") {
    const replies = reply["replies"] as Json[];
    const steps = (step["steps"] as Json[]).map((one, n) => visible(one, replies[n] ?? {}));
    return { ...step, steps };
  }
  return step["expect"] === undefined ? step : { ...step, expect };
}

async function run(gateway: Gateway, arrivals: Arrivals, { steps }: Scenario): Promise<string[]> {
  const session = new Session(gateway, arrivals);
  const late = new Map<unknown, unknown>();
  try {
    for (const [n, step] of steps.entries()) {
      if (holdsLargeNumbers(step)) {
        throw new NotCarried("a number that Node 20 rounds");
      }
      const reply = await session.step(step);
      const wrong = check(visible(step, reply), reply);
      if (step["op"] === "request" && reply["verdict"] === "allow") {
        late.set(step["id"], (step["expect"] as Json | undefined)?.["headers"]);
      }
      const headers = late.get(step["id"]);
      if (step["op"] === "finish" && reply["error"] === undefined && headers !== undefined) {
        wrong.push(...check({ ...step, expect: { headers } }, reply));
      }
      if (wrong.length > 0) {
        return [`step ${n}: ${JSON.stringify(step)}: ${JSON.stringify(wrong)}: ${JSON.stringify(reply)}`];
      }
    }
    return [];
  } finally {
    session.end();
  }
}

test("every scenario that HTTP carries replies as expected", async () => {
  const directory = await temporary();
  const upstream = await Upstream.start();
  const arrivals = new Arrivals(upstream);
  const setup = { worker: "sessions", directory: directory.path, upstream: upstream.url };
  const gateway = await Gateway.start(setup);
  try {
    const scenarios: Scenario[] = [];
    for (const file of (await readdir(vectors)).filter((name) => name.endsWith(".json")).sort()) {
      const text = await readFile(join(vectors, file), "utf8");
      scenarios.push(...(JSON.parse(text) as { scenarios: Scenario[] }).scenarios);
    }
    const notCarried: Record<string, number> = {};
    const failed: string[] = [];
    let passed = 0;
    await crowd(scenarios.length, 8, async (n) => {
      const scenario = scenarios[n] as Scenario;
      try {
        const wrong = await run(gateway, arrivals, scenario);
        failed.push(...wrong.map((text) => `${scenario.name}: ${text}`));
        passed += Number(wrong.length === 0);
      } catch (error) {
        if (!(error instanceof NotCarried)) {
          failed.push(`${scenario.name}: ${String(error)}`);
          return;
        }
        notCarried[error.message] = (notCarried[error.message] ?? 0) + 1;
      }
    });
    console.log(`${passed} scenarios passed`);
    assert.deepEqual(failed, []);
    assert.deepEqual(notCarried, NOT_CARRIED);
    assert.ok(passed >= 400, `only ${passed} passed`);
  } finally {
    await gateway.stop();
    await upstream.stop();
    await directory.remove();
  }
});
