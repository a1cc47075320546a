// Operations on a store elsewhere: rounds of messages.

import { TollgateError } from "./errors.js";
import { readCalls, writeReplies } from "./flat.js";
import { call, hasObjects, raw, type RawObjectsStore, type RawOperation } from "./raw.js";
import type { Store, StoreCall } from "./types.js";

const known = new WeakMap<Store, RawObjectsStore>();

/** The caller's half of a store, which knows tokens: one for each. */
export function callerOf(store: Store): RawObjectsStore {
  let caller = known.get(store);
  if (caller === undefined) {
    if (!hasObjects()) throw new TollgateError("not_in_this_build", 'stores elsewhere are in the build "tollgate/objects": import from there');
    caller = call(() => new (raw().RawObjectsStore)(store.cachedTokens ?? 10_000));
    known.set(store, caller);
  }
  return caller;
}

/** Carries messages until the operation is done, and gives its result. */
export async function run<T>(store: Store, begin: () => RawOperation, end: (operation: RawOperation) => T): Promise<T> {
  const operation = call(begin);
  try {
    while (call(() => operation.calls()) > 0) {
      const replies = await Promise.all(readCalls().map((one) => send(store, one)));
      call(() => operation.resume(writeReplies(replies)));
    }
    return call(() => end(operation));
  } finally {
    operation.free();
  }
}

async function send(store: Store, message: StoreCall): Promise<Uint8Array | Error> {
  try {
    const answer = await store.send(message);
    return answer instanceof Uint8Array ? answer : new Error("the store gave something that is no Uint8Array");
  } catch (error) {
    return error instanceof Error ? error : new Error("the store failed");
  }
}
