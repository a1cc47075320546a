// The Durable Object: a part of the state, and the engine's own transition in its storage transaction.

import { DurableObject } from "cloudflare:workers";
import { init, StoreObject } from "tollgate";

import { SqlMap } from "./sql-map.js";

/** How long an alarm that failed waits before it is tried again. */
const ALARM_RETRY_MS = 10_000;

/**
 * One of the objects that hold the state: an account, a bucket of source addresses, a shard of the
 * token directory, or the register of accounts. Its name says which; the class is the same.
 *
 * The times in its records are those of the Workers that sent the messages. Its own clock only says
 * when its alarm ends what is due.
 */
export class TollgateObject<Env = unknown> extends DurableObject<Env> {
  #object: StoreObject | undefined;
  #alarmMs: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      await init();
      this.#object = new StoreObject(new SqlMap(ctx.storage.sql));
      this.#alarmMs = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  /** Performs a message, wholly or not at all. Throws when nothing was changed. */
  async perform(message: Uint8Array): Promise<Uint8Array> {
    const object = this.#opened();
    const answer = this.ctx.storage.transactionSync(() => object.perform(message, Date.now()));
    // Without an await in between, the alarm is of the same commit as the change that needs it.
    await this.#arm(object.nextDueMs(Date.now()));
    return answer;
  }

  /** Ends what is due: leases, claims, and cells that no longer say anything. */
  override async alarm(): Promise<void> {
    // An alarm is gone once it fires.
    this.#alarmMs = undefined;
    let nextMs: number | undefined;
    try {
      const object = this.#opened();
      this.ctx.storage.transactionSync(() => object.expire(Date.now()));
      nextMs = object.nextDueMs(Date.now());
    } catch (error) {
      console.error({ event: "tollgate_alarm_failed", error: String(error) });
      // Thrown on, it would be tried six times, and then never again.
      nextMs = Date.now() + ALARM_RETRY_MS;
    }
    await this.#arm(nextMs);
  }

  /** Sets the alarm to when something falls due. A test with a clock of its own has none. */
  protected async arm(dueMs: number | undefined): Promise<void> {
    if (dueMs === undefined) {
      await this.ctx.storage.deleteAlarm();
    } else {
      await this.ctx.storage.setAlarm(dueMs);
    }
  }

  async #arm(dueMs: number | undefined): Promise<void> {
    if (dueMs !== this.#alarmMs) {
      this.#alarmMs = dueMs;
      await this.arm(dueMs);
    }
  }

  #opened(): StoreObject {
    if (this.#object === undefined) {
      throw new Error("the object's storage could not be opened");
    }
    return this.#object;
  }
}
