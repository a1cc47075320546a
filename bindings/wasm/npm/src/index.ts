// The entry for browsers, Deno and bundlers; node.ts and workerd.ts are this one with another way to find the module.

export { init, type InitSource } from "./raw.js";
export { Engine, FlatCalls, type EngineOptions } from "./engine.js";
export { MemoryStore, StoreObject, type MemoryOptions } from "./stores.js";
export { Admin } from "./admin.js";
export { TollgateError, PolicyError, RequestError, RefusedError, StoreError } from "./errors.js";
export { generateToken, version } from "./tokens.js";
export type * from "./types.js";
