// The Durable Object: a part of the state, and the engine's own transition in its storage transaction.

import { DurableObject } from "cloudflare:workers";
import { init, StoreObject } from "tollgate/objects";

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
  #opened: StoreObject | undefined;
  #alarmMs: number | undefined;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      await init();
      this.#alarmMs = (await ctx.storage.getAlarm()) ?? undefined;
    });
  }

  /** Performs a message, wholly or not at all. Throws when nothing was changed. */
  async perform(message: Uint8Array): Promise<Uint8Array> {
    const object = this.#open();
    const answer = this.ctx.storage.transactionSync(() => object.perform(message, Date.now()));
    // Without an await in between, the alarm is of the same commit as the change that needs it.
    await this.#arm(object.nextDueMs(Date.now()));
    return answer;
  }

  /** Ends what is due: leases, claims, and cells that no longer say anything. */
  override async alarm(): Promise<void> {
    // An alarm is gone once it fires.
    this.#alarmMs = undefined;
    try {
      const object = this.#open();
      this.ctx.storage.transactionSync(() => object.expire(Date.now()));
      if (object.isEmpty()) {
        await this.#clear();
      } else {
        await this.#arm(object.nextDueMs(Date.now()));
      }
    } catch (error) {
      console.error({ event: "tollgate_alarm_failed", error: String(error) });
      // Thrown on, it would be tried six times, and then never again.
      await this.#arm(Date.now() + ALARM_RETRY_MS);
    }
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
    if (dueMs === this.#alarmMs) {
      return;
    }
    this.#alarmMs = dueMs;
    try {
      await this.arm(dueMs);
    } catch (error) {
      // Whether it is set is not known: the next message sets it.
      this.#alarmMs = undefined;
      throw error;
    }
  }

  /** An object without anything in its storage is as one that never was, and costs nothing. */
  async #clear(): Promise<void> {
    await this.ctx.blockConcurrencyWhile(async () => {
      this.#opened?.free();
      this.#opened = undefined;
      await this.ctx.storage.deleteAll();
    });
  }

  #open(): StoreObject {
    this.#opened ??= new StoreObject(new SqlMap(this.ctx.storage));
    return this.#opened;
  }
}
