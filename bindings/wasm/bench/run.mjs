// Measures decisions in Node and in workerd, and prints nanoseconds each as JSON. Usage: node run.mjs ROUNDS COUNT

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import * as tollgate from "../npm/dist/objects/node.js";
import { decisions } from "./decisions.mjs";

// The Worker's project has it.
const { Miniflare } = createRequire(new URL("../../worker/package.json", import.meta.url))("miniflare");

const [rounds, count] = process.argv.slice(2).map(Number);

/** Nanoseconds each, the median over rounds. What a round costs without decisions is taken off. */
async function median(work) {
  const timed = async (count) => {
    const start = performance.now();
    await work(count);
    return performance.now() - start;
  };
  await work(count); // until it is compiled
  const measured = [];
  for (let round = 0; round < rounds; round++) {
    const without = await timed(0);
    measured.push((((await timed(count)) - without) * 1e6) / count);
  }
  return measured.sort((a, b) => a - b)[rounds >> 1];
}

await tollgate.init();
const node = await decisions(tollgate);
const miniflare = new Miniflare({
  modules: true,
  modulesRoot: fileURLToPath(new URL("..", import.meta.url)),
  modulesRules: [
    { type: "ESModule", include: ["**/*.js", "**/*.mjs"] },
    { type: "CompiledWasm", include: ["**/*.wasm"] },
  ],
  scriptPath: fileURLToPath(new URL("worker.mjs", import.meta.url)),
  compatibilityDate: "2026-04-01",
});
const inWorkerd = (what) => async (count) => {
  const response = await miniflare.dispatchFetch(`http://worker/?what=${what}&count=${count}`);
  if (!response.ok) throw new Error(await response.text());
  await response.text();
};
try {
  const results = {};
  for (const what of ["flat", "encoded", "whole"]) {
    results[`node_${what}`] = await median(async (count) => node[what](count));
    results[`workerd_${what}`] = await median(inWorkerd(what));
  }
  console.log(JSON.stringify(results));
} finally {
  await miniflare.dispose();
}
