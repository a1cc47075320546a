// Scenarios in workerd: sessions of the npm package over the Durable Objects of this Worker.

import { DurableObject } from "cloudflare:workers";
import { init } from "tollgate/objects";
import type { StoreCall } from "tollgate/objects";
import { Session } from "tollgate/objects/scenario";
import type { Json } from "tollgate/objects/scenario";

import { TollgateObject as Base } from "../../src/objects.js";
import { ObjectsStore } from "../../src/store.js";

interface Env {
  TOLLGATE: DurableObjectNamespace<TollgateObject>;
  SESSIONS: DurableObjectNamespace<SessionObject>;
}

/** What a line of the test asks; see the Rust crate of the package's own tests. */
interface Line {
  session: number;
  step?: Json;
  explain?: Json;
  restart?: true;
  end?: true;
}

/** Without alarms: scenarios have a clock of their own. */
export class TollgateObject extends Base<Env> {
  protected override async arm(): Promise<void> {}

  async restart(): Promise<void> {
    this.ctx.abort("a scenario restarts it");
  }
}

/** A store that knows which objects it has asked. */
class KnownObjects extends ObjectsStore {
  readonly names = new Set<string>();
  readonly #objects: Env["TOLLGATE"];
  readonly prefix: string;

  constructor(objects: Env["TOLLGATE"], prefix: string) {
    super(objects, { prefix });
    this.#objects = objects;
    this.prefix = prefix;
  }

  override send(call: StoreCall): Promise<Uint8Array> {
    this.names.add(call.object);
    return super.send(call);
  }

  /** Has every object begin again from its storage, and forgets what is kept at hand. */
  async reopened(): Promise<KnownObjects> {
    const stubs = [...this.names].map((name) =>
      this.#objects.get(this.#objects.idFromName(this.prefix + name)),
    );
    const ends = await Promise.allSettled(stubs.map((stub) => stub.restart()));
    if (ends.some(({ status }) => status === "fulfilled")) {
      throw new Error("an object was not restarted");
    }
    return new KnownObjects(this.#objects, this.prefix);
  }
}

/** A session. In an object, because its steps come by several requests. */
export class SessionObject extends DurableObject<Env> {
  #session: Session | undefined;

  async perform({ session: number, step, explain, restart }: Line): Promise<Json> {
    await init();
    const session = (this.#session ??= this.#start(number));
    if (explain !== undefined) {
      const told = await session.explain(explain);
      return told["error"] === undefined ? told : { reply: told };
    }
    const asked = restart === true ? { op: "restart" } : (step ?? {});
    const reply = await session.step(asked);
    const decision = asked["op"] === "request" ? session.decision(String(asked["id"])) : undefined;
    return { reply, must_finish: decision?.ticket !== undefined };
  }

  #start(number: number): Session {
    let stores = 0;
    const { TOLLGATE } = this.env;
    return new Session({
      store: () => new KnownObjects(TOLLGATE, `${number}/${stores++}/`),
      reopen: (store) => (store instanceof KnownObjects ? store.reopened() : store),
    });
  }
}

export default {
  async fetch(request, env) {
    const line = await request.json<Line>();
    const session = env.SESSIONS.get(env.SESSIONS.idFromName(String(line.session)));
    return Response.json(await session.perform(line));
  },
} satisfies ExportedHandler<Env>;
