// Bodies: streamed, captured, bounded.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect } from "node:net";
import { after, before, beforeEach, test } from "node:test";

import { Gateway, Upstream, eventually, temporary } from "./harness.js";

let directory: Awaited<ReturnType<typeof temporary>>;
let upstream: Upstream;
let gateway: Gateway;

before(async () => {
  directory = await temporary();
  upstream = await Upstream.start();
  gateway = await Gateway.start({ directory: directory.path, upstream: upstream.url });
  await gateway.account("acme", 1_000_000);
});

after(async () => {
  await gateway.stop();
  await upstream.stop();
  await directory.remove();
});

beforeEach(() => {
  upstream.received.length = 0;
});

for (const framing of ["a known length", "chunks"]) {
  test(`5 MB in ${framing} are captured, and replayed identically`, async () => {
    const body = randomBytes(5_000_000);
    upstream.answering = (_, response) => {
      response.setHeader("content-type", "application/octet-stream");
      if (framing === "a known length") {
        response.setHeader("content-length", body.length);
      }
      response.end(body);
    };
    const key = `large, ${framing}`.replaceAll(" ", "-");
    for (const replayed of [undefined, "true", "true"]) {
      const answer = await gateway.pay(key);
      assert.equal(answer.headers["idempotent-replayed"], replayed);
      assert.equal(answer.headers["content-type"], "application/octet-stream");
      assert.ok(answer.body.equals(body), "the body is the same");
    }
    assert.equal(upstream.received.length, 1);
  });
}

test("a body over the bound reaches its client, and is replayed empty", async () => {
  const body = randomBytes(7 << 20);
  upstream.answering = (_, response) => {
    response.writeHead(200, { etag: '"7"', "content-type": "text/x" }).end(body);
  };
  const first = await gateway.pay("oversize");
  assert.ok(first.body.equals(body));
  const again = await gateway.pay("oversize");
  assert.deepEqual([again.status, again.body.length], [200, 0]);
  assert.equal(again.headers["idempotent-replayed"], "true");
  assert.equal(again.headers["content-type"], "text/x");
  assert.equal(again.headers.etag, undefined, "it is of the bytes that are not there");
});

test("what a client sees is not held back, but for the end", async () => {
  let held: ServerResponse | undefined;
  upstream.answering = (_, response) => {
    response.write("first");
    held = response;
  };
  const client = gateway.beginToPay("streamed");
  const [response] = (await once(client, "response")) as [IncomingMessage];
  const [first] = (await once(response, "data")) as [Buffer];
  assert.equal(first.toString(), "first");
  held?.write("second");
  const [second] = (await once(response, "data")) as [Buffer];
  assert.equal(second.toString(), "second");
  assert.equal((await gateway.pay("streamed")).status, 409);
  held?.end();
  await once(response, "end");
  assert.equal((await gateway.pay("streamed")).body.toString(), "firstsecond");
});

test("a client that reads slowly slows the upstream down", async () => {
  let written = 0;
  upstream.answering = (_, response) => {
    const part = randomBytes(1 << 16);
    const write = (): void => {
      while (written < 256 << 20) {
        written += part.length;
        if (!response.write(part)) {
          response.once("drain", write);
          return;
        }
      }
      response.end();
    };
    write();
  };
  const socket = connect(gateway.port, "127.0.0.1");
  socket.write("POST /pay HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t-acme\r\n");
  socket.write("idempotency-key: slow\r\ncontent-length: 0\r\n\r\n");
  await once(socket, "readable");
  socket.pause();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const before = written;
  await new Promise((resolve) => setTimeout(resolve, 500));
  socket.destroy();
  assert.equal(written, before, "nobody reads on");
  assert.ok(written < 64 << 20, `${written} bytes are under way`);
});

test("a request body that nobody needs is streamed", async () => {
  const parts: string[] = [];
  const original = upstream.answering;
  const server = await import("node:http").then(({ createServer }) =>
    createServer((incoming, response) => {
      incoming.on("data", (part: Buffer) => parts.push(part.toString()));
      incoming.on("end", () => response.end("got it"));
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const other = await temporary();
  const url = `http://127.0.0.1:${address.port}`;
  const streaming = await Gateway.start({ directory: other.path, upstream: url });
  try {
    await streaming.account("acme", 100);
    const headers = { authorization: "Bearer t-acme", "transfer-encoding": "chunked" };
    const options = { host: "127.0.0.1", port: streaming.port, path: "/pay", method: "POST" };
    const sent = httpRequest({ ...options, headers, agent: false });
    sent.write("first");
    await eventually(async () => (parts.join("") === "first" ? undefined : parts.join("|")));
    sent.end("second");
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 200);
    assert.equal(parts.join(""), "firstsecond");
  } finally {
    await streaming.stop();
    await other.remove();
    server.close();
    upstream.answering = original;
  }
});

test("a body that is read is passed on whole", async () => {
  upstream.answering = (request, response) => void response.end(request.body);
  for (const size of [0, 1, 65_537, 1 << 20]) {
    const body = randomBytes(size);
    const headers = { "idempotency-key": `size-${size}` };
    const answer = await gateway.as("t-acme", "/free", { method: "POST", headers, body });
    assert.equal(answer.status, 200, answer.body.toString());
    assert.ok(answer.body.equals(body));
    const other = Buffer.concat([body, Buffer.from("x")]).subarray(0, 1 << 20);
    if (size < 1 << 20) {
      const changed = await gateway.as("t-acme", "/free", { method: "POST", headers, body: other });
      assert.equal(changed.json()["code"], "idempotency_key_reused");
    }
  }
});

for (const framing of ["a known length", "chunks"]) {
  test(`a body over the bound in ${framing} is refused, and not passed on`, async () => {
    const body = randomBytes((1 << 20) + 1);
    const headers = {
      "idempotency-key": `too-long-${framing.length}`,
      ...(framing === "chunks" ? { "transfer-encoding": "chunked" } : {}),
    };
    const asking = { method: "POST", headers, body, alone: true };
    const answer = await gateway.as("t-acme", "/free", asking);
    assert.equal(answer.status, 422);
    assert.deepEqual(answer.json(), {
      message: "The request body is over 1048576 bytes. Send a shorter one.",
      code: "validation_failed",
    });
    assert.equal(upstream.received.length, 0);
  });
}

test("a long body is not read for a token that nobody knows", async () => {
  const headers = {
    authorization: "Bearer t-unknown",
    "idempotency-key": "k",
    "content-length": "1000000",
  };
  const options = { host: "127.0.0.1", port: gateway.port, path: "/pay", method: "POST" };
  const sent = httpRequest({ ...options, headers, agent: false });
  sent.on("error", () => undefined);
  sent.write("the first of it");
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  assert.equal(response.statusCode, 401);
  sent.destroy();
});

test("a WebSocket is passed on, and settled by its head", async () => {
  const { createServer } = await import("node:http");
  const { createHash } = await import("node:crypto");
  const server = createServer();
  server.on("upgrade", (incoming, socket) => {
    const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const key = `${incoming.headers["sec-websocket-key"]}${guid}`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n");
    socket.write(`sec-websocket-accept: ${accept}\r\n\r\n`);
    socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const other = await temporary();
  const url = `http://127.0.0.1:${address.port}`;
  const gateway = await Gateway.start({ directory: other.path, upstream: url });
  try {
    await gateway.account("acme", 100);
    for (const path of ["/read", "/paid"]) {
      const sent = httpRequest({
        host: "127.0.0.1",
        port: gateway.port,
        path,
        agent: false,
        headers: {
          authorization: "Bearer t-acme",
          connection: "upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": Buffer.from("0123456789abcdef").toString("base64"),
        },
      });
      sent.end();
      const [response, socket, head] = (await once(sent, "upgrade")) as [
        IncomingMessage,
        import("node:net").Socket,
        Buffer,
      ];
      assert.equal(response.statusCode, 101);
      const frame = head.length > 0 ? head : ((await once(socket, "data")) as [Buffer])[0];
      assert.equal(frame.subarray(2).toString(), "hi");
      socket.destroy();
    }
    await gateway.expectMoney({ held: 0 });
  } finally {
    await gateway.stop();
    await other.remove();
    server.closeAllConnections();
    server.close();
  }
});
