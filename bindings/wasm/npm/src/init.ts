// Loading the module.

import { TollgateError } from "./errors.js";
import { instantiate } from "./raw.js";

/** What the engine can be loaded from. */
export type InitSource = WebAssembly.Module | BufferSource | Response | URL | string;

let loading: Promise<void> | undefined;
let ownSource: () => Promise<InitSource> = async () => new URL("./generated/tollgate_wasm_bg.wasm", import.meta.url);

/** For the entries of platforms that find the module in another way. */
export function setOwnSource(source: () => Promise<InitSource>): void {
  ownSource = source;
}

/**
 * Makes the engine ready. Later calls wait for the first one; one that fails may be made again.
 *
 * Node and workerd find the module themselves, browsers and Deno fetch it from beside this file; `source` is for
 * whoever keeps it elsewhere.
 */
export function init(source?: InitSource): Promise<void> {
  loading ??= load(source).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function load(source: InitSource | undefined): Promise<void> {
  instantiate(await compile(source ?? (await ownSource())));
}

async function compile(source: InitSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source === "string" || source instanceof URL) source = await fetch(source);
  if (typeof Response !== "undefined" && source instanceof Response) {
    if (!source.ok) throw new TollgateError("not_loaded", `the module was not found: HTTP status ${source.status}`);
    return WebAssembly.compile(await source.arrayBuffer());
  }
  return WebAssembly.compile(source as BufferSource);
}
