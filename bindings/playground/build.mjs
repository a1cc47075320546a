// Builds the page: `node build.mjs`, or `node build.mjs --tests` for the page and its tests.
import { build } from "esbuild";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = here("../../target/playground");

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const { metafile } = await build({
  entryPoints: { app: here("src/main.ts"), style: here("src/style.css") },
  outdir: out,
  bundle: true,
  minify: true,
  metafile: true,
  format: "esm",
  target: ["es2022"],
  logLevel: "warning",
});
await cp(here("src/index.html"), `${out}/index.html`);
await cp(fileURLToPath(import.meta.resolve("tollgate/tollgate.wasm")), `${out}/tollgate.wasm`);
await writeFile(`${out}/licences.txt`, await licences(Object.keys(metafile.inputs)));

if (process.argv.includes("--tests")) {
  await rm(here("dist/tests"), { recursive: true, force: true });
  const names = await readdir(here("tests"));
  const tests = names.filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: tests.map((name) => here(`tests/${name}`)),
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

/**
 * The licences of the packages that are in the bundle, which ask to go with it.
 * @param {string[]} inputs
 */
async function licences(inputs) {
  const names = inputs.map((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]);
  const texts = [...new Set(names)].sort().map(async (name) => {
    if (name === undefined) return "";
    const text = await readFile(here(`node_modules/${name}/LICENSE`), "utf8");
    return `${name}\n\n${text.trim()}\n\n\n`;
  });
  return (await Promise.all(texts)).join("");
}
