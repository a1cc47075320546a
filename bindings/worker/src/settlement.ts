// How an admitted request ends: once, whatever happens.

import { RefusedError } from "tollgate/objects";
import type { Engine, Outcome, Store, StoredResponse, Ticket } from "tollgate/objects";

import type { Settlement } from "./options.js";
import { sleep } from "./store.js";

/** Pauses before a settlement is tried again on a store that failed. */
const PAUSES_MS = [50, 400];

export interface Settling {
  engine: Engine;
  store: Store;
  clock: () => number;
  account: string | undefined;
  onFinishError?: ((ticket: Ticket, error: unknown) => void) | undefined;
}

/** A request that reserved money or claimed a key, and has not ended. */
export class Open {
  readonly #by: Settling;
  readonly #ticket: Ticket;
  #ended: Promise<void> | undefined;

  constructor(by: Settling, ticket: Ticket) {
    this.#by = by;
    this.#ticket = ticket;
  }

  /** Whether the response is to be captured. */
  get holdsKey(): boolean {
    return this.#ticket.holdsKey;
  }

  /** Ends it, by the first call. Never rejects. */
  end(settlement: Settlement, response?: StoredResponse): Promise<void> {
    this.#ended ??= this.#settle(outcome(settlement, this.holdsKey ? response : undefined));
    return this.#ended;
  }

  async #settle(outcome: Outcome): Promise<void> {
    const { engine, store, clock } = this.#by;
    for (const pauseMs of [...PAUSES_MS, undefined]) {
      try {
        await engine.finishAsync(store, this.#ticket, outcome, clock());
        return;
      } catch (error) {
        // The same outcome again is safe, and a refusal is final.
        if (error instanceof RefusedError || pauseMs === undefined) {
          this.#failed(error);
          return;
        }
        await sleep(pauseMs);
      }
    }
  }

  #failed(error: unknown): void {
    const { reservation } = this.#ticket;
    if (this.#by.onFinishError !== undefined) {
      this.#by.onFinishError(this.#ticket, error);
      return;
    }
    console.error({
      event: "tollgate_not_settled",
      account: this.#by.account,
      reservation: reservation.toString(),
      error: String(error),
    });
  }
}

function outcome(settlement: Settlement, response: StoredResponse | undefined): Outcome {
  const kept = response === undefined ? {} : { response };
  if (typeof settlement === "object") {
    return { kind: "settle", amount: settlement.charge, ...kept };
  }
  switch (settlement) {
    case "charge":
      return { kind: "settle", ...kept };
    case "void":
      return { kind: "void", ...kept };
    case "release":
      return { kind: "void" };
    case "unknown":
      return { kind: "unknown" };
  }
}
