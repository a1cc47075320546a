// Makes `dist` of `src` and of what wasm-bindgen wrote into `generated`: the same JavaScript twice, over each build of the module.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync } from "node:fs";

const glue = ["tollgate_wasm.js", "tollgate_wasm.d.ts"];
const at = (path) => new URL(path, import.meta.url).pathname;

rmSync(at("dist"), { recursive: true, force: true });
// The larger build has all types.
mkdirSync(at("src/generated"), { recursive: true });
for (const file of glue) cpSync(at(`generated/objects/${file}`), at(`src/generated/${file}`));
execFileSync(process.execPath, [at("node_modules/typescript/bin/tsc"), "-p", at("tsconfig.json")], { stdio: "inherit" });
cpSync(at("dist/objects"), at("dist/engine"), { recursive: true });
for (const build of ["engine", "objects"]) {
  for (const file of [...glue, "tollgate_wasm_bg.wasm"]) cpSync(at(`generated/${build}/${file}`), at(`dist/${build}/generated/${file}`));
}
