// The entry for Node: the module is read from disk.

import { readFile } from "node:fs/promises";
import { setOwnSource } from "./init.js";

setOwnSource(() => readFile(new URL("./generated/tollgate_wasm_bg.wasm", import.meta.url)));

export * from "./index.js";
