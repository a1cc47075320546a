// From a request to a decision: facts, body, store.

import type { Decision, Engine, Store, TollgateRequest } from "tollgate/objects";

import type { Settings } from "./options.js";

/** A body of at most this many bytes is read before its token is known to be good. */
const READ_UNASKED = 64 << 10;

/** What was decided, and the body to pass on. */
export interface Decided {
  decision: Decision;
  body: ReadableStream | Uint8Array | null;
}

/** What is known of a request's body. */
interface Payload {
  read?: Uint8Array;
  /** It could not be read; the message for the client. */
  unreadable?: string;
}

const UNREAD: Payload = {};

/** Decides a request, reading its body only where the decision needs it. */
export async function decide<Env>(
  engine: Engine,
  store: Store,
  options: Settings<Env>,
  request: Request,
): Promise<Decided> {
  const ask = (payload: Payload, peek = false): Promise<Decision> =>
    engine.decideAsync(store, asked(options, request, payload, peek));
  const stream = request.body;
  if (stream === null) {
    return { decision: await ask({ read: new Uint8Array(0) }), body: null };
  }
  const needed = options.readBody === true || request.headers.has("idempotency-key");
  if (!needed) {
    return { decision: await ask(UNREAD), body: stream };
  }
  const told = Number(request.headers.get("content-length") ?? Number.NaN);
  if (!(told <= READ_UNASKED)) {
    const decision = await ask(UNREAD, true);
    if (refusesAnyBody(decision)) {
      return { decision, body: null };
    }
  }
  const payload = await read(stream, told, options.maxRequestBody);
  const decision = await ask(payload);
  return { decision, body: payload.read ?? null };
}

/** Whether token, network or scope refuse the request, or the store fails: none of these is for its body. */
function refusesAnyBody(decision: Decision): boolean {
  switch (decision.code) {
    case "missing_token":
    case "invalid_token":
    case "ip_not_allowed":
    case "insufficient_scope":
    case "store_unavailable":
      return true;
    default:
      return false;
  }
}

function asked<Env>(
  options: Settings<Env>,
  request: Request,
  payload: Payload,
  peek = false,
): TollgateRequest {
  const body = payload.read;
  const cost = options.cost?.(request, body);
  const sender = options.sender?.(request, body);
  const invalid = payload.unreadable ?? options.invalid?.(request, body);
  return {
    nowMs: options.clock(request),
    method: request.method,
    target: bytesOf(target(request.url)),
    headers: headersOf(request.headers),
    peer: options.peer(request),
    // A body that is not known is like no body that was carried out.
    body: body ?? crypto.getRandomValues(new Uint8Array(32)),
    peek,
    ...(cost === undefined ? {} : { cost }),
    ...(sender === undefined ? {} : { sender }),
    ...(invalid === undefined ? {} : { invalid }),
  };
}

/** Path and query as the platform tells them; parsing them again could change them. */
export function target(url: string): string {
  const path = url.indexOf("/", url.indexOf("://") + 3);
  return path === -1 ? "" : url.slice(path);
}

const ASCII = /^[\0-\x7f]*$/;

/** The platform has read bytes as UTF-8; the engine takes a unit of a string for a byte. */
function bytesOf(text: string): string {
  if (ASCII.test(text)) {
    return text;
  }
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

function headersOf(headers: Headers): Headers | [string, string][] {
  const all = [...headers];
  const plain = all.every(([, value]) => ASCII.test(value));
  return plain ? headers : all.map(([name, value]) => [name, bytesOf(value)]);
}

async function read(stream: ReadableStream, told: number, max: number): Promise<Payload> {
  const tooLong = { unreadable: `The request body is over ${max} bytes. Send a shorter one.` };
  if (told > max) {
    return tooLong;
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return length > max ? tooLong : { read: joined(parts, length) };
      }
      length += value.length;
      if (length > 2 * max) {
        return tooLong;
      }
      // A client that is still sending when the answer comes may not see it: some more is read.
      if (length > max) {
        parts.length = 0;
      } else {
        parts.push(value);
      }
    }
  } catch {
    return { unreadable: "The request body did not come to its end. Send it again." };
  }
}

export function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const only = parts[0];
  if (parts.length === 1 && only !== undefined) {
    return only;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
