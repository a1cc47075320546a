// The module: loading it, and calling it.

import * as glue from "./wasm/tollgate_wasm.js";
import { TollgateError, errorOf } from "./errors.js";

export type Glue = typeof glue;
export type { RawEngine, RawMemoryStore, RawObjectsStore, RawOperation, RawStoreObject } from "./wasm/tollgate_wasm.js";

/** What the engine can be loaded from. */
export type InitSource = WebAssembly.Module | BufferSource | Response | URL | string;

type Loaded = { memory: WebAssembly.Memory };
let loaded: Loaded | undefined;
let loading: Promise<void> | undefined;
let broken: Error | undefined;
let ownSource: () => Promise<InitSource> = async () => new URL("./wasm/tollgate_wasm_bg.wasm", import.meta.url);

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
  const module = await compile(source ?? (await ownSource()));
  loaded = glue.initSync({ module });
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

/** The module's functions, once it is there. */
export function raw(): Glue {
  if (loaded === undefined) throw new TollgateError("not_initialized", "call `await init()` first");
  return glue;
}

/** Whether this is the build with stores elsewhere. Types are those of that build. */
export function hasObjects(): boolean {
  return "RawOperation" in raw();
}

/** Calls the module, and throws its errors as classes. */
export function call<T>(work: () => T): T {
  if (broken !== undefined) throw broken;
  try {
    return work();
  } catch (thrown) {
    // Cannot happen, by all that is tested; and what the module holds is not to be trusted after it.
    if (thrown instanceof WebAssembly.RuntimeError) {
      broken = new TollgateError("internal", `the module met a bug of its own (${thrown.message}); load it anew`);
      throw broken;
    }
    throw errorOf(thrown);
  }
}

let view = new Uint8Array();

/** A view of the module's memory, which moves when it grows. */
export function memory(): Uint8Array {
  if (view.byteLength === 0) view = new Uint8Array((loaded as Loaded).memory.buffer);
  return view;
}

let capacity = 0;
let address = 0;

/** Makes room for `length` bytes of input, and gives where it begins in {@link memory}. */
export function reserve(length: number): number {
  const kept = 1 << 20;
  if (length > capacity || capacity > kept) {
    address = raw().reserve(length);
    if (address === 0) throw new TollgateError("out_of_memory", `there is no room for ${length} bytes`);
    capacity = Math.max(length, 1024);
  }
  return address;
}

/** Where the latest output begins in {@link memory}. */
export function outputAddress(): number {
  return raw().outputAddress();
}
