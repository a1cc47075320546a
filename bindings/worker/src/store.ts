// Where the engine's messages go: to Durable Objects, by name.

import type { Store, StoreCall } from "tollgate/objects";

/** The binding of the class `TollgateObject`, or of one that extends it. */
export interface Objects {
  idFromName(name: string): DurableObjectId;
  get(
    id: DurableObjectId,
    options?: DurableObjectNamespaceGetDurableObjectOptions,
  ): { perform(message: Uint8Array): Promise<Uint8Array> };
}

export interface ObjectsOptions {
  /** Put before the name of each object, so that several stores share a namespace. */
  prefix?: string;
  /** Where objects are made, the first time that they are asked; by default near the first asker. */
  locationHint?: DurableObjectLocationHint;
  /** How many tokens an isolate keeps at hand. Default: 10,000. */
  cachedTokens?: number;
}

/** Pauses before a message is sent again whose answer was lost, where that changes nothing. */
const PAUSES_MS = [20, 200];

/** A store whose state is in Durable Objects. One for each isolate: it is what the engine keeps tokens at hand for. */
export class ObjectsStore implements Store {
  readonly cachedTokens: number | undefined;
  readonly #objects: Objects;
  readonly #prefix: string;
  readonly #options: DurableObjectNamespaceGetDurableObjectOptions;

  constructor(objects: Objects, options: ObjectsOptions = {}) {
    this.#objects = objects;
    this.#prefix = options.prefix ?? "";
    this.#options =
      options.locationHint === undefined ? {} : { locationHint: options.locationHint };
    this.cachedTokens = options.cachedTokens;
  }

  /** Has an object perform a message. Rejecting means that it may or may not have been performed. */
  async send({ object, message, repeatable }: StoreCall): Promise<Uint8Array> {
    const id = this.#objects.idFromName(this.#prefix + object);
    for (const pauseMs of [...PAUSES_MS, undefined]) {
      try {
        // A stub is of no more use once a call through it has failed: each call gets its own.
        return await this.#objects.get(id, this.#options).perform(message);
      } catch (error) {
        // More calls would not help an object that has too many.
        if (!repeatable || pauseMs === undefined || isOverloaded(error)) {
          throw error;
        }
        await sleep(pauseMs);
      }
    }
    throw new Error("unreachable");
  }
}

function isOverloaded(error: unknown): boolean {
  return typeof error === "object" && error !== null && "overloaded" in error
    ? error.overloaded === true
    : false;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
