// The entry for workerd: the module is imported, as nothing else is allowed there.

import module from "./wasm/tollgate_wasm_bg.wasm";
import { setOwnSource } from "./raw.js";

setOwnSource(async () => module);

export * from "./index.js";
