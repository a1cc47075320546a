// Where the engine's messages go: to Durable Objects, by name.

import type { Store } from "tollgate";

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
}

/** A store whose state is in Durable Objects. It holds nothing itself and may be made for each request. */
export class ObjectsStore implements Store {
  readonly #objects: Objects;
  readonly #prefix: string;
  readonly #options: DurableObjectNamespaceGetDurableObjectOptions;

  constructor(objects: Objects, options: ObjectsOptions = {}) {
    this.#objects = objects;
    this.#prefix = options.prefix ?? "";
    this.#options =
      options.locationHint === undefined ? {} : { locationHint: options.locationHint };
  }

  /** Has an object perform a message. Rejecting means that it may or may not have been performed. */
  async send(object: string, message: Uint8Array): Promise<Uint8Array> {
    const id = this.#objects.idFromName(this.#prefix + object);
    // A stub is of no more use once a call through it has failed: each message gets its own.
    return await this.#objects.get(id, this.#options).perform(message);
  }
}
