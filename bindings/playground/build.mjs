// Builds the page: `node build.mjs`, or `node build.mjs --tests` for the page and its tests.
import { build } from "esbuild";
import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = here("../../target/playground");

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: here("src/main.ts"), style: here("src/style.css") },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "linked",
  logLevel: "warning",
});
await cp(here("src/index.html"), `${out}/index.html`);
await cp(fileURLToPath(import.meta.resolve("tollgate/tollgate.wasm")), `${out}/tollgate.wasm`);

if (process.argv.includes("--tests")) {
  await rm(here("dist/tests"), { recursive: true, force: true });
  const names = await readdir(here("tests"));
  await build({
    entryPoints: names.filter((name) => name.endsWith(".test.ts")).map((name) => here(`tests/${name}`)),
    outdir: here("dist/tests"),
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: ["node20"],
    packages: "external",
    logLevel: "warning",
  });
}
