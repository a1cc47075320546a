// Calls of the module.

import * as glue from "./generated/tollgate_wasm.js";
import { TollgateError, errorOf } from "./errors.js";

export type Glue = typeof glue;
export type { RawEngine, RawMemoryStore, RawObjectsStore, RawOperation, RawStoreObject } from "./generated/tollgate_wasm.js";

type Loaded = { memory: WebAssembly.Memory };
let loaded: Loaded | undefined;
let broken: Error | undefined;

/** Makes the module of what was compiled. */
export function instantiate(module: WebAssembly.Module): void {
  loaded = glue.initSync({ module });
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

let inputBytes: Uint8Array = new Uint8Array();

/** The input itself, with room for `length` bytes. */
export function inputView(length: number): Uint8Array {
  const start = reserve(length);
  const all = memory();
  if (inputBytes.buffer !== all.buffer || inputBytes.byteOffset !== start || inputBytes.length !== capacity) {
    inputBytes = all.subarray(start, start + capacity);
  }
  return inputBytes;
}

/** Where the latest output begins in {@link memory}. */
export function outputAddress(): number {
  return raw().outputAddress();
}
