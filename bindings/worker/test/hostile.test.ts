// Requests that nobody should send: the answers are the library's, or the platform's own.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, test } from "node:test";

import { Admin, Engine, MemoryStore, init } from "tollgate/objects";
import type { Decision } from "tollgate/objects";

import { Gateway, POLICY, Upstream, temporary } from "./harness.js";

let directory: Awaited<ReturnType<typeof temporary>>;
let upstream: Upstream;
let gateway: Gateway;
let engine: Engine;
let store: MemoryStore;

before(async () => {
  await init();
  engine = new Engine(POLICY);
  store = new MemoryStore();
  const admin = new Admin(engine, store);
  await admin.putAccount({ id: "acme", balance: 1_000 }, Date.now());
  await admin.putToken({ token: "t-acme", account: "acme", scopes: ["all"] }, Date.now());
  directory = await temporary();
  upstream = await Upstream.start((_, response) => void response.end("done"));
  gateway = await Gateway.start({ directory: directory.path, upstream: upstream.url });
  await gateway.account("acme", 1_000);
});

after(async () => {
  await gateway.stop();
  await upstream.stop();
  await directory.remove();
});

/** Writes bytes, and gives the status and the body of what comes back. */
async function raw(head: string): Promise<{ status: number; body: string }> {
  const socket = connect(gateway.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(Buffer.from(head, "latin1"));
  let all = "";
  socket.on("data", (part: Buffer) => {
    all += part.toString("latin1");
    const [headers, body] = all.split("\r\n\r\n");
    const length = /content-length: (\d+)/i.exec(headers ?? "")?.[1];
    if (length !== undefined && (body?.length ?? 0) >= Number(length)) {
      socket.destroy();
    }
    if (all.endsWith("\r\n0\r\n\r\n")) {
      socket.destroy();
    }
  });
  socket.setTimeout(5_000, () => socket.destroy());
  await once(socket, "close");
  const status = Number(/^HTTP\/1.1 (\d+)/.exec(all)?.[1]);
  return { status, body: all.slice(all.indexOf("\r\n\r\n") + 4) };
}

function library(method: string, target: string, headers: [string, string][]): Decision {
  const request = { nowMs: Date.now(), method, target, headers, peer: "192.0.2.1", peek: true };
  return engine.decide(store, request);
}

async function likeTheLibrary(
  method: string,
  target: string,
  headers: [string, string][],
  seen = { target, headers },
): Promise<Decision> {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = `${method} ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n`;
  const answer = await raw(`${head}${lines}\r\n`);
  const decision = library(method, seen.target, seen.headers);
  const said = `${method} ${JSON.stringify(target)} ${JSON.stringify(headers).slice(0, 200)}`;
  assert.equal(answer.status, decision.status, said);
  if (decision.verdict === "deny" && method !== "HEAD") {
    assert.equal(answer.body, Buffer.from(decision.body).toString(), said);
  }
  return decision;
}

const TOKEN: [string, string] = ["authorization", "Bearer t-acme"];

test("targets", async () => {
  const passing = ["/read", "/read?x=1", "/read?a=../b", "/read?%zz", "/read?a=//b"];
  const denied = [
    "//read",
    "/read/",
    "//evil.example/read",
    "/read\\x",
    "\\read",
    "/%72ead",
    "/read%2f",
    "/%",
    "/%zz",
    "/read%00",
    "/read;x=1",
    "/read#x",
    "/READ",
    "/{read}",
    "/read\x01",
    `/${"a".repeat(8_000)}`,
  ].filter((target) => target.startsWith("/"));
  const before = upstream.received.length;
  for (const target of denied) {
    const decision = await likeTheLibrary("GET", target, [TOKEN]);
    assert.equal(decision.code, "insufficient_scope", target);
  }
  assert.equal(upstream.received.length, before, "none of them is forwarded");
  for (const target of passing) {
    const decision = await likeTheLibrary("GET", target, [TOKEN]);
    assert.equal(decision.verdict, "allow", target);
    assert.equal(upstream.received.at(-1)?.url, target);
  }
});

test("workerd resolves dot segments before the Worker sees them", async () => {
  const targets = ["/read/../pay", "/x/../read", "/./read", "/x/%2e%2e/read"];
  const seen = ["/pay", "/read", "/read", undefined];
  for (const [n, target] of targets.entries()) {
    const as = { target: seen[n] ?? target, headers: [TOKEN] };
    await likeTheLibrary("GET", target, [TOKEN], as);
  }
});

test("bytes that are no UTF-8 are replaced before the Worker sees them", async () => {
  const replaced = Buffer.from("\ufffd").toString("latin1");
  const as = { target: `/read${replaced}`, headers: [TOKEN] };
  const decision = await likeTheLibrary("GET", "/read\xe9", [TOKEN], as);
  assert.equal(decision.code, "insufficient_scope");
  const utf8 = Buffer.from("/é").toString("latin1");
  await likeTheLibrary("GET", utf8, [TOKEN]);
  for (const key of ["\xff", "a\xe9b"]) {
    const headers: [string, string][] = [TOKEN, ["idempotency-key", key]];
    const seen: [string, string][] = [TOKEN, ["idempotency-key", key.replace(/[^a-z]/, replaced)]];
    const decision = await likeTheLibrary("POST", "/pay", headers, { target: "/pay", headers: seen });
    assert.equal(decision.code, "idempotency_key_invalid");
  }
});

test("tokens", async () => {
  const values = [
    "",
    "Bearer",
    "Bearer ",
    "bearer t-acme",
    "Bearer  t-acme",
    "Bearer t-acme t-acme",
    "Basic dDphY21l",
    "Bearer t-acm\xe9",
    `Bearer ${"x".repeat(600)}`,
    `Bearer ${"x".repeat(60_000)}`,
    "Bearer t-acme, Bearer t-acme",
  ];
  const utf8 = (text: string) => Buffer.from(Buffer.from(text, "latin1").toString()).toString("latin1");
  for (const value of values) {
    const seen: [string, string][] = [["authorization", utf8(value)]];
    await likeTheLibrary("GET", "/read", [["authorization", value]], { target: "/read", headers: seen });
  }
  // The platform joins what comes twice.
  const twice: [string, string][] = [TOKEN, TOKEN];
  const joined: [string, string][] = [["authorization", "Bearer t-acme, Bearer t-acme"]];
  await likeTheLibrary("GET", "/read", twice, { target: "/read", headers: joined });
});

test("idempotency keys", async () => {
  const keys = ["", '"', '"a', "a b", "a,b", "\t", "x".repeat(256), `"${"x".repeat(255)}"`, '"a\\"'];
  for (const key of keys) {
    const headers: [string, string][] = [TOKEN, ["idempotency-key", key]];
    await likeTheLibrary("POST", "/pay", headers);
  }
});

test("methods", async () => {
  for (const method of ["HEAD", "DELETE", "PATCH", "OPTIONS", "PURGE", "TRACE", "PROPFIND"]) {
    await likeTheLibrary(method, method === "HEAD" ? "/read" : "/pay", [TOKEN]);
  }
  // workerd knows a list of methods.
  for (const method of ["get", "FOO", "M-SEARCH"]) {
    assert.equal((await raw(`${method} /read HTTP/1.1\r\nhost: x\r\n\r\n`)).status, 501);
  }
});

test("what workerd refuses by itself", async () => {
  const before = upstream.received.length;
  for (const [head, status] of [
    ["GET /read HTTP/1.1\r\n", 400],
    ["GET http://x/read HTTP/1.1\r\nhost: x\r\n", 500],
    ["GET * HTTP/1.1\r\nhost: x\r\n", 500],
    ["GET /read HTTP/1.1\r\nhost: x\r\na b: c\r\n", 400],
    ["GET /read HTTP/1.1\r\nhost: x\r\na: \0\r\n", 400],
  ] as const) {
    assert.equal((await raw(`${head}authorization: Bearer t-acme\r\n\r\n`)).status, status, head);
  }
  assert.equal(upstream.received.length, before);
});
