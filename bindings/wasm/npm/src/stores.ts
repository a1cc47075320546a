import { RequestError, TollgateError } from "./errors.js";
import { toU64 } from "./flat.js";
import { call, hasObjects, raw, type RawMemoryStore, type RawStoreObject } from "./raw.js";
import type { AmountLike, KvMap } from "./types.js";

/** Bounds of a {@link MemoryStore}. At a bound new entries are refused; a live one is never dropped. */
export interface MemoryOptions {
  maxAccounts?: number;
  maxTokens?: number;
  maxCells?: number;
  maxClaims?: number;
  maxReservations?: number;
  maxPerAccount?: number;
}

/** State in this module's memory: for tests, and servers of one process. It is gone with the process. */
export class MemoryStore {
  /** @internal */
  readonly raw: RawMemoryStore;

  constructor(options: MemoryOptions = {}) {
    const { maxAccounts, maxTokens, maxCells, maxClaims, maxReservations, maxPerAccount, ...unknown } = options;
    const [name] = Object.keys(unknown);
    if (name !== undefined) throw new RequestError(`there is no bound \`${name}\``);
    const bounds = [maxAccounts, maxTokens, maxCells, maxClaims, maxReservations, maxPerAccount] as const;
    if (!bounds.every((bound) => bound === undefined || (Number.isInteger(bound) && bound >= 0 && bound < 2 ** 32))) {
      throw new RequestError("a bound is a whole number below 2^32");
    }
    this.raw = call(() => new (raw().RawMemoryStore)(...bounds));
  }

  /** Gives its memory back at once, instead of when it is collected. */
  free(): void {
    this.raw.free();
  }
}

/** One object of a {@link Store}: performs messages over a map that the host keeps. */
export class StoreObject {
  private readonly raw: RawStoreObject;

  /** Opens the object that is in a map; an empty map becomes one that holds nothing. */
  constructor(map: KvMap) {
    if (!hasObjects()) throw new TollgateError("not_in_this_build", 'StoreObject is in the build "tollgate/objects": import from there');
    this.raw = call(() => new (raw().RawStoreObject)(new FlatMap(map) as never));
  }

  /**
   * Performs a message and gives the bytes of its answer. It changes the map by one `commit`, or by several that each leave it whole.
   *
   * Throws {@link StoreError} when the message is not of this version, and nothing is changed then. Whatever else keeps it from being
   * performed is an answer.
   */
  perform(message: Uint8Array, nowMs: AmountLike): Uint8Array {
    return call(() => this.raw.perform(message, toU64(nowMs, "nowMs")));
  }

  /** Ends what is due; gives how many leases and claims ended. */
  expire(nowMs: AmountLike): bigint {
    return call(() => this.raw.expire(toU64(nowMs, "nowMs")));
  }

  /** When {@link expire} will find something to do, in Unix milliseconds: for an alarm. Absent: as long as nothing new comes, never. */
  nextDueMs(nowMs: AmountLike): number | undefined {
    const due = call(() => this.raw.nextDueMs(toU64(nowMs, "nowMs")));
    return due === undefined ? undefined : Number(due);
  }

  /** Whether it holds nothing, so that its map may be cleared. */
  isEmpty(): boolean {
    return call(() => this.raw.isEmpty());
  }

  /** Reads and checks every record, and what records say of each other; gives how many there are. */
  verify(): bigint {
    return call(() => this.raw.verify());
  }

  /** Gives its memory back at once, instead of when it is collected. */
  free(): void {
    this.raw.free();
  }
}

const REMOVED = 0xffff_ffff;

/** The module's side of a map. What the module hands over is a view that lasts for the call: the host gets copies. */
class FlatMap {
  constructor(private readonly map: KvMap) {}

  get(key: Uint8Array): Uint8Array | undefined {
    return this.map.get(key.slice()) ?? undefined;
  }

  firstAtOrAfter(from: Uint8Array): Uint8Array | undefined {
    const entry = this.map.firstAtOrAfter(from.slice());
    if (entry === undefined || entry === null) return undefined;
    const [key, value] = entry;
    const flat = new Uint8Array(4 + key.length + value.length);
    new DataView(flat.buffer).setUint32(0, key.length, true);
    flat.set(key, 4);
    flat.set(value, 4 + key.length);
    return flat;
  }

  commit(flat: Uint8Array): void {
    const puts: [Uint8Array, Uint8Array][] = [];
    const removes: Uint8Array[] = [];
    const view = new DataView(flat.buffer, flat.byteOffset, flat.byteLength);
    for (let at = 0; at < flat.length; ) {
      const keyLength = view.getUint32(at, true);
      const valueLength = view.getUint32(at + 4, true);
      at += 8;
      const key = flat.slice(at, at + keyLength);
      at += keyLength;
      if (valueLength === REMOVED) {
        removes.push(key);
      } else {
        puts.push([key, flat.slice(at, at + valueLength)]);
        at += valueLength;
      }
    }
    const done: unknown = this.map.commit(puts, removes);
    if (done instanceof Promise) throw new RequestError("commit must be done when it returns; a promise is too late");
  }
}
