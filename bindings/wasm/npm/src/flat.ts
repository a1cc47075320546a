// Requests, answers and outcomes as flat bytes; the README has the layouts. Numbers are little-endian.

import { RequestError } from "./errors.js";
import { memory, outputAddress, reserve } from "./raw.js";
import type {
  AmountLike, Decision, HeadersLike, Outcome, StoreCall, StoredResponse, Ticket, TollgateRequest, Verdict,
} from "./types.js";

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();
const TWO_32 = 0x1_0000_0000;
const U64_MAX = 0xffff_ffff_ffff_ffffn;

type Pair = readonly [string, string];

/** Writes into the input. Every write must have been counted by whoever reserved the room. */
class Writer {
  private readonly bytes: Uint8Array;
  private at: number;

  constructor(length: number) {
    this.at = reserve(length);
    this.bytes = memory();
  }

  u8(value: number): void {
    this.bytes[this.at++] = value;
  }

  u16(value: number): void {
    const { bytes, at } = this;
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
    this.at = at + 2;
  }

  u32(value: number): void {
    const { bytes, at } = this;
    bytes[at] = value;
    bytes[at + 1] = value >>> 8;
    bytes[at + 2] = value >>> 16;
    bytes[at + 3] = value >>> 24;
    this.at = at + 4;
  }

  u64(value: AmountLike, what: string): void {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
      this.u32(value % TWO_32);
      this.u32(value / TWO_32);
    } else {
      const whole = toU64(value, what);
      this.u32(Number(whole & 0xffff_ffffn));
      this.u32(Number(whole >> 32n));
    }
  }

  /** Each unit of the text is one byte. */
  latin1(text: string, what: string): void {
    const { bytes, at } = this;
    const length = text.length;
    let units = 0;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      units |= unit;
      bytes[at + index] = unit;
    }
    if (units > 0xff) throw new RequestError(`${what} has a character above U+00FF: each unit of it is one byte`);
    this.at = at + length;
  }

  raw(part: Uint8Array): void {
    this.bytes.set(part, this.at);
    this.at += part.length;
  }
}

/** A number of 64 bits, or an error that names what it was for. */
export function toU64(value: unknown, what: string): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === "bigint" && value >= 0n && value <= U64_MAX) return value;
  throw new RequestError(`${what} is a whole number from 0 to 2^53 - 1, or a bigint up to 2^64 - 1`);
}

function text(value: unknown, what: string): string {
  if (typeof value === "string") return value;
  throw new RequestError(`${what} is a string`);
}

function optionalBytes(value: Uint8Array | string | null | undefined, what: string): Uint8Array {
  if (value === undefined || value === null || value === "") return NONE;
  if (typeof value === "string") return utf8.encode(value);
  if (value instanceof Uint8Array) return value;
  throw new RequestError(`${what} is a Uint8Array or a string`);
}

const NONE = new Uint8Array();

const REQUEST_HEAD = 44;
const HAS_COST = 1;
const HAS_SENDER = 2;
const HAS_INVALID = 4;
const IS_PEEK = 8;

/** Writes a request to the input; gives its length. Only headers with these names, in lower case, are written. */
export function writeRequest(request: TollgateRequest, names: ReadonlySet<string>): number {
  if (typeof request !== "object" || request === null) throw new RequestError("a request is an object");
  const method = text(request.method, "method");
  const target = text(request.target, "target");
  const peer = request.peer === undefined || request.peer === null ? "" : text(request.peer, "peer");
  const { cost, body: given, sender, invalid } = request;
  const senderBytes = sender === undefined ? NONE : utf8.encode(text(sender, "sender"));
  const invalidBytes = invalid === undefined ? NONE : utf8.encode(text(invalid, "invalid"));
  const body = optionalBytes(given, "body");
  const headers = request.headers === undefined ? [] : pick(request.headers, names);

  const count = headers.length;
  let length = REQUEST_HEAD + 8 * count + method.length + target.length + peer.length + senderBytes.length + invalidBytes.length + body.length;
  // By index: to destructure pairs costs as much as to write them.
  for (let index = 0; index < count; index++) {
    const pair = headers[index] as Pair;
    length += pair[0].length + pair[1].length;
  }
  const to = new Writer(length);
  to.u64(request.nowMs, "nowMs");
  to.u64(cost ?? 0, "cost");
  to.u8(
    (cost === undefined ? 0 : HAS_COST) | (sender === undefined ? 0 : HAS_SENDER) | (invalid === undefined ? 0 : HAS_INVALID) |
      (request.peek === true ? IS_PEEK : 0),
  );
  to.u8(0);
  to.u16(count);
  to.u32(method.length);
  to.u32(target.length);
  to.u32(peer.length);
  to.u32(senderBytes.length);
  to.u32(invalidBytes.length);
  to.u32(body.length);
  for (let index = 0; index < count; index++) {
    const pair = headers[index] as Pair;
    to.u32(pair[0].length);
    to.u32(pair[1].length);
  }
  to.latin1(method, "method");
  to.latin1(target, "target");
  to.latin1(peer, "peer");
  if (senderBytes.length > 0) to.raw(senderBytes);
  if (invalidBytes.length > 0) to.raw(invalidBytes);
  for (let index = 0; index < count; index++) {
    const pair = headers[index] as Pair;
    to.latin1(pair[0], "a header's name");
    to.latin1(pair[1], "a header's value");
  }
  if (body.length > 0) to.raw(body);
  return length;
}

/** The headers that a decision reads: to hand over the others would only cost time. */
function pick(headers: HeadersLike, names: ReadonlySet<string>): Pair[] {
  const picked: Pair[] = [];
  if (Array.isArray(headers)) {
    for (const pair of headers as readonly Pair[]) take(picked, names, pair);
  } else if (typeof Headers !== "undefined" && headers instanceof Headers) {
    for (const name of names) {
      const value = headers.get(name);
      if (value !== null) picked.push([name, value]);
    }
  } else if (typeof headers !== "object" || headers === null) {
    throw new RequestError("headers are pairs, a Headers, or an object");
  } else if (Symbol.iterator in headers) {
    for (const pair of headers as Iterable<Pair>) take(picked, names, pair);
  } else {
    for (const [name, values] of Object.entries(headers as { [name: string]: string | readonly string[] | undefined })) {
      if (values === undefined) continue;
      for (const value of typeof values === "string" ? [values] : values) take(picked, names, [name, value]);
    }
  }
  if (picked.length > 0xffff) throw new RequestError("there are more than 65535 headers of one name");
  return picked;
}

function take(picked: Pair[], names: ReadonlySet<string>, pair: Pair): void {
  const name = pair[0];
  if (typeof name !== "string" || typeof pair[1] !== "string") throw new RequestError("headers are pairs of strings");
  if (names.has(name) || names.has(name.toLowerCase())) picked.push(pair);
}

const ENDING_HEAD = 32;
const HAS_AMOUNT = 1;
const HAS_RESPONSE = 2;
const HAS_BODY = 4;
const KINDS = { settle: 0, void: 1, unknown: 2 };

/** Writes how a request ended to the input; gives its length. */
export function writeEnding(ticket: Ticket | undefined, outcome: Outcome, nowMs: AmountLike): number {
  const kind = KINDS[outcome?.kind];
  if (kind === undefined) throw new RequestError('an outcome has the kind "settle", "void" or "unknown"');
  const amount = outcome.kind === "settle" ? outcome.amount : undefined;
  const response = (outcome as { response?: StoredResponse }).response;
  const ticketBytes = ticket === undefined ? NONE : ticket.bytes;
  const body = optionalBytes(response?.body, "response.body");
  const headers: (readonly [Uint8Array, string])[] = [];
  for (const [name, value] of response?.headers ?? []) {
    headers.push([utf8.encode(text(name, "a header's name")), text(value, "a header's value")]);
  }
  const status = response?.status ?? 0;
  if (!Number.isInteger(status) || status < 0 || status > 0xffff) throw new RequestError("response.status is 100 to 999");
  if (headers.length > 0xffff) throw new RequestError("a response has at most 65535 headers");

  let length = ENDING_HEAD + 8 * headers.length + ticketBytes.length + body.length;
  for (const [name, value] of headers) length += name.length + value.length;
  const to = new Writer(length);
  to.u64(nowMs, "nowMs");
  to.u64(amount ?? 0, "amount");
  to.u8(kind);
  const hasBody = response !== undefined && response.body !== null;
  to.u8((amount === undefined ? 0 : HAS_AMOUNT) | (response === undefined ? 0 : HAS_RESPONSE) | (hasBody ? HAS_BODY : 0));
  to.u16(status);
  to.u16(headers.length);
  to.u16(0);
  to.u32(ticketBytes.length);
  to.u32(body.length);
  for (const [name, value] of headers) {
    to.u32(name.length);
    to.u32(value.length);
  }
  to.raw(ticketBytes);
  for (const [name, value] of headers) {
    to.raw(name);
    to.latin1(value, "a header's value");
  }
  to.raw(body);
  return length;
}

/** Reads from the output. */
class Reader {
  private readonly bytes: Uint8Array;
  private at: number;

  constructor() {
    this.at = outputAddress();
    this.bytes = memory();
  }

  u8(): number {
    return this.bytes[this.at++] as number;
  }

  u16(): number {
    return this.u8() | (this.u8() << 8);
  }

  u32(): number {
    return this.u16() + this.u16() * 0x1_0000;
  }

  u64(): bigint {
    return BigInt(this.u32()) | (BigInt(this.u32()) << 32n);
  }

  /** At most 2^53, which times are. */
  time(): number {
    return this.u32() + this.u32() * TWO_32;
  }

  latin1(length: number): string {
    let text = "";
    for (let index = 0; index < length; index++) text += String.fromCharCode(this.u8());
    return text;
  }

  utf8(length: number): string {
    return length === 0 ? "" : fromUtf8.decode(this.raw(length));
  }

  raw(length: number): Uint8Array {
    const part = this.bytes.slice(this.at, this.at + length);
    this.at += length;
    return part;
  }
}

const VERDICTS: readonly Verdict[] = ["allow", "deny", "replay"];
const HAS_ACCOUNT = 1;
const HAS_ROUTE = 2;
const HAS_TICKET = 4;
const HAS_RETRY = 8;
const HAS_STORE_ERROR = 16;
const SHADOWS_CAPS = 32;
const SHADOWS_NETWORKS = 64;

/** Reads a decision from the output. */
export function readDecision(codes: ReadonlyMap<number, string>): Decision {
  const from = new Reader();
  const both = from.u32();
  const status = from.u16();
  const flags = from.u8();
  from.u8();
  const retryAtMs = from.time();
  const [accountLength, routeLength, errorLength, limitsLength, ticketLength, bodyLength] = [
    from.u32(), from.u32(), from.u32(), from.u32(), from.u32(), from.u32(),
  ];
  const count = from.u32();
  const lengths: number[] = [];
  for (let index = 0; index < 2 * count; index++) lengths.push(from.u32());
  const headers: [string, string][] = [];
  for (let index = 0; index < 2 * count; index += 2) {
    headers.push([from.latin1(lengths[index] as number), from.latin1(lengths[index + 1] as number)]);
  }
  const account = from.utf8(accountLength as number);
  const route = from.utf8(routeLength as number);
  const storeError = from.utf8(errorLength as number);
  const limits = from.utf8(limitsLength as number);
  const ticketBytes = from.raw(ticketLength as number);
  const verdict = VERDICTS[both & 3] as Verdict;
  const ticket = flags & HAS_TICKET ? ticketOf(ticketBytes) : undefined;
  return {
    verdict,
    status,
    code: verdict === "deny" ? codes.get(both >>> 2) : undefined,
    headers,
    body: from.raw(bodyLength as number),
    account: flags & HAS_ACCOUNT ? account : undefined,
    route: flags & HAS_ROUTE ? route : undefined,
    reserved: ticket !== undefined && ticket.reserved > 0n ? ticket.reserved : undefined,
    retryAtMs: flags & HAS_RETRY ? retryAtMs : undefined,
    storeError: flags & HAS_STORE_ERROR ? storeError : undefined,
    shadows: {
      limits: limits === "" ? [] : (JSON.parse(limits) as string[]),
      spendCaps: (flags & SHADOWS_CAPS) !== 0,
      networks: (flags & SHADOWS_NETWORKS) !== 0,
    },
    ticket,
  };
}

const TICKET_HEAD = 18;

/** A ticket from its bytes, which were kept or came from elsewhere. */
export function ticketOf(bytes: Uint8Array): Ticket {
  if (bytes.length < TICKET_HEAD) throw new RequestError("these are not the bytes of a ticket");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    bytes,
    holdsKey: ((bytes[1] as number) & 1) !== 0,
    reservation: view.getBigUint64(2, true),
    reserved: view.getBigUint64(10, true),
  };
}

/** Reads what is to be sent from the output. */
export function readCalls(): StoreCall[] {
  const from = new Reader();
  const count = from.u32();
  const heads: (readonly [number, number, boolean])[] = [];
  for (let index = 0; index < count; index++) heads.push([from.u32(), from.u32(), from.u32() !== 0]);
  return heads.map(([object, message, repeatable]) => ({
    object: from.latin1(object),
    message: from.raw(message),
    repeatable,
  }));
}

/** Writes what came of the calls to the input; gives its length. */
export function writeReplies(replies: readonly (Uint8Array | Error)[]): number {
  const parts = replies.map((reply) => (reply instanceof Error ? utf8.encode(reply.message) : reply));
  const length = parts.reduce((sum, part) => sum + 8 + part.length, 4);
  const to = new Writer(length);
  to.u32(parts.length);
  replies.forEach((reply, index) => {
    to.u32(reply instanceof Error ? 0 : 1);
    to.u32((parts[index] as Uint8Array).length);
  });
  for (const part of parts) to.raw(part);
  return length;
}
