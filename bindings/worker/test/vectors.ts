// Performs steps that come as JSON lines, in workerd; the Rust crate in `tests` starts it.

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Miniflare } from "miniflare";

import { COMPATIBILITY, modules } from "./harness.js";

const worker = join(dirname(fileURLToPath(import.meta.url)), "../workers/vectors");
// Each scenario has objects of its own, and nobody pulls a plug: no disk needs to be waited for.
const memory = "/dev/shm";
const directory = await mkdtemp(join(existsSync(memory) ? memory : tmpdir(), "tollgate-vectors-"));
const useSQLite = true;
const miniflare = new Miniflare({
  ...COMPATIBILITY,
  modules: await modules(worker),
  modulesRoot: worker,
  durableObjects: {
    TOLLGATE: { className: "TollgateObject", useSQLite },
    SESSIONS: { className: "SessionObject", useSQLite, unsafePreventEviction: true },
  },
  durableObjectsPersist: directory,
});

async function ask(line: string): Promise<object> {
  const response = await miniflare.dispatchFetch("http://vectors/", { method: "POST", body: line });
  const text = await response.text();
  if (response.status !== 200) {
    console.error(text);
    return { reply: { error: `the Worker failed: ${response.status}` } };
  }
  return JSON.parse(text) as object;
}

const underWay = new Set<Promise<void>>();
for await (const line of createInterface({ input: process.stdin })) {
  const { n, end } = JSON.parse(line) as { n: number; end?: true };
  const asked = (end === true ? Promise.resolve({}) : ask(line)).then((told) => {
    console.log(JSON.stringify({ n, ...told }));
    underWay.delete(asked);
  });
  underWay.add(asked);
}
await Promise.allSettled(underWay);
await miniflare.dispose();
await rm(directory, { recursive: true, force: true });
