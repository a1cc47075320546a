// A response on its way to the client: copied for replays, and settled before it ends.

import type { Decision, StoredResponse } from "tollgate/objects";

import { NO_BODY, addHeaders } from "./answers.js";
import type { Settings, Settlement } from "./options.js";
import { joined } from "./request.js";
import type { Open } from "./settlement.js";

/** The response of a request that has nothing to settle. */
export function passed(response: Response, decision: Decision): Response {
  return out(response, response.body, decision);
}

/** A response for the client, and what goes on after it is handed over. */
export interface Captured {
  response: Response;
  /** Resolves once the request is settled. Never rejects. */
  done: Promise<void>;
}

/** Hands a response on, and settles its request before the client has the last of it. */
export async function captured<Env>(
  options: Settings<Env>,
  { method, signal }: Request,
  open: Open,
  response: Response,
  decision: Decision,
): Promise<Captured> {
  const settlement = options.settlement(response);
  const head = keptHead(response, options.replayHeaders);
  const body = response.body;
  if (method === "HEAD" || body === null || NO_BODY.has(response.status)) {
    const length = response.headers.get("content-length");
    if (method === "HEAD" && length !== null) {
      head.push(["content-length", length]);
    }
    await open.end(settlement, stored(response.status, head, new Uint8Array(0)));
    return { response: out(response, null, decision), done: Promise.resolve() };
  }
  const length = bodyLength(response.headers);
  const pipe =
    length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
  const done = new Pump(options, open, response.status, head, settlement).run(
    body,
    new Client(pipe.writable, signal),
    length,
  );
  return { response: out(response, pipe.readable, decision), done };
}

/** Copies a body to a client, and ends the request. */
class Pump<Env> {
  readonly #options: Settings<Env>;
  readonly #open: Open;
  readonly #status: number;
  readonly #head: [string, string][];
  readonly #settlement: Settlement;
  readonly #kept: Kept;

  constructor(
    options: Settings<Env>,
    open: Open,
    status: number,
    head: [string, string][],
    settlement: Settlement,
  ) {
    this.#options = options;
    this.#open = open;
    this.#status = status;
    this.#head = head;
    this.#settlement = settlement;
    this.#kept = new Kept(open.holdsKey ? options.maxResponseBody : -1);
  }

  async run(
    body: ReadableStream,
    client: Client,
    length: number | undefined,
  ): Promise<void> {
    const reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    let cancelled = false;
    const cancel = (): void => {
      cancelled = true;
      this.#kept.drop();
      void reader.cancel().catch(() => undefined);
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    client.onGone = () => {
      // Its retry is to find the whole response, if that is not too long to keep or in coming.
      timer = setTimeout(cancel, this.#kept.whole ? this.#options.carryOnMs : 0);
    };
    let seen = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          break;
        }
        seen += value.length;
        this.#kept.add(value);
        if (client.gone && !this.#kept.whole) {
          cancel();
          break;
        }
        if (seen === length) {
          // The last of it: whoever has seen all finds it replayed.
          await this.#end();
        }
        await client.write(value);
      }
    } catch (error) {
      // The upstream broke off: what it has done nobody knows.
      await (cancelled ? this.#end() : this.#open.end("unknown"));
      await client.abort(error);
      return;
    } finally {
      if (timer !== undefined) {
        clearTimeout(timer);
      }
    }
    if (length !== undefined && seen < length && !cancelled) {
      await this.#open.end("unknown");
      await client.abort(new Error("the upstream's response is shorter than it said"));
      return;
    }
    await this.#end();
    await client.close();
  }

  #end(): Promise<void> {
    return this.#open.end(this.#settlement, stored(this.#status, this.#head, this.#kept.bytes()));
  }
}

/** The end that the client reads from. What is written to one that has left is dropped. */
class Client {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  gone = false;
  onGone: () => void = () => undefined;

  constructor(writable: WritableStream<Uint8Array>, signal: AbortSignal) {
    this.#writer = writable.getWriter();
    const left = (): void => {
      if (!this.gone) {
        this.gone = true;
        this.onGone();
      }
    };
    // A stream tells it with the next chunk, the request's signal at once.
    this.#writer.closed.catch(left);
    signal.addEventListener("abort", left);
  }

  async write(chunk: Uint8Array): Promise<void> {
    if (!this.gone) {
      await this.#writer.write(chunk).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    await this.#writer.close().catch(() => undefined);
  }

  async abort(reason: unknown): Promise<void> {
    await this.#writer.abort(reason).catch(() => undefined);
  }
}

/** The first bytes of a body, until there are too many. */
class Kept {
  readonly #max: number;
  #parts: Uint8Array[] = [];
  #length = 0;
  whole: boolean;

  constructor(max: number) {
    this.#max = max;
    this.whole = max >= 0;
  }

  add(chunk: Uint8Array): void {
    if (!this.whole) {
      return;
    }
    this.#length += chunk.length;
    if (this.#length > this.#max) {
      this.drop();
      return;
    }
    this.#parts.push(chunk.slice());
  }

  drop(): void {
    this.whole = false;
    this.#parts = [];
  }

  bytes(): Uint8Array | null {
    return this.whole ? joined(this.#parts, this.#length) : null;
  }
}

function keptHead(response: Response, names: readonly string[]): [string, string][] {
  const kept: [string, string][] = [];
  for (const name of names) {
    const value = response.headers.get(name);
    if (value !== null) {
      kept.push([name, value]);
    }
  }
  return kept;
}

/** Without its body, headers that describe the bytes of a body are left out too. */
function stored(
  status: number,
  head: readonly [string, string][],
  body: Uint8Array | null,
): StoredResponse {
  const ofBytes = new Set(["content-encoding", "etag"]);
  const headers = body === null ? head.filter(([name]) => !ofBytes.has(name)) : head;
  return { status, headers, body };
}

/** The length of a body, where its head says it. */
function bodyLength(headers: Headers): number | undefined {
  const told = headers.get("content-length");
  return told !== null && /^\d{1,15}$/.test(told) ? Number(told) : undefined;
}

function out(response: Response, body: ReadableStream | null, decision: Decision): Response {
  const headers = new Headers(response.headers);
  addHeaders(headers, decision);
  const { status, statusText, webSocket } = response;
  // The bytes are the upstream's, encoded or not.
  return new Response(body, { status, statusText, headers, webSocket, encodeBody: "manual" });
}
