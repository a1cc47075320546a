// Bundles the Workers of the tests as wrangler would, and compiles the tests.

import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");

/** A module of wasm stays a file beside the bundle, which workerd compiles. */
function wasmBeside(directory) {
  return {
    name: "wasm-beside",
    setup(builds) {
      builds.onResolve({ filter: /\.wasm(\?module)?$/ }, async ({ path, resolveDir }) => {
        const file = path.replace(/\?module$/, "");
        const name = basename(file);
        await copyFile(join(resolveDir, file), join(directory, name));
        return { path: `./${name}`, external: true };
      });
    },
  };
}

async function worker(name, entry) {
  const directory = join(dist, "workers", name);
  await mkdir(directory, { recursive: true });
  await build({
    entryPoints: [join(root, entry)],
    outfile: join(directory, "worker.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*"],
    plugins: [wasmBeside(directory)],
    logLevel: "warning",
  });
}

await rm(dist, { recursive: true, force: true });
await worker("index", "src/index.ts");
for (const file of await readdir(join(root, "test/workers"))) {
  if (file.endsWith(".ts")) {
    await worker(basename(file, ".ts"), join("test/workers", file));
  }
}
const tests = (await readdir(join(root, "test"))).filter((file) => file.endsWith(".ts"));
await build({
  entryPoints: tests.map((file) => join(root, "test", file)),
  outdir: join(dist, "test"),
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  logLevel: "warning",
});
