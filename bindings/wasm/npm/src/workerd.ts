// The entry for workerd: the module is imported, as nothing else is allowed there.

import module from "./generated/tollgate_wasm_bg.wasm";
import { setOwnSource } from "./init.js";

setOwnSource(async () => module);

export * from "./index.js";
