// Compiles the tests: `node build.mjs`.
import { build } from "esbuild";
import { readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await rm(here("dist"), { recursive: true, force: true });
const names = await readdir(here("tests"));
const tests = names.filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((name) => here(`tests/${name}`)),
  outdir: here("dist"),
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: ["node20"],
  packages: "external",
  logLevel: "warning",
});
