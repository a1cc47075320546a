// Decisions over 1 000 tokens, the same on every platform: the package is handed in.

const START_MS = 1_700_000_000_000;
const TOKENS = 1_000;

/** Gives functions that make so many decisions. */
export async function decisions({ Engine, MemoryStore, Admin, FlatCalls, generateToken }) {
  const engine = Engine.preset("sms-gateway");
  const store = new MemoryStore();
  const admin = new Admin(engine, store);
  const scopes = Object.keys(engine.policy.scopes);
  await admin.putAccount({ id: "bench", balance: 1n << 60n }, START_MS);
  const requests = [];
  for (let index = 0; index < TOKENS; index++) {
    const token = generateToken();
    await admin.putToken({ token, account: "bench", scopes }, START_MS);
    const headers = [["authorization", `Bearer ${token}`]];
    requests.push({ nowMs: START_MS, method: "GET", target: "/balance", headers, peer: "192.0.2.7" });
  }
  const flatCalls = new FlatCalls(engine, store);
  let made = 0;

  // A token comes once a second, so that no limit ends.
  function next() {
    const request = requests[made % TOKENS];
    request.nowMs = START_MS + ++made;
    return request;
  }

  // As a host has them that writes the bytes itself.
  const bytes = requests.map((request) => {
    const length = flatCalls.encode(request);
    return flatCalls.reserve(length).slice(0, length);
  });
  const times = bytes.map((one) => new Uint32Array(one.buffer, 0, 2));

  /** Through flat bytes: they are copied in, and the verdict is read. */
  function flat(count) {
    for (let index = 0; index < count; index++) {
      const place = made % TOKENS;
      const now = START_MS + ++made;
      times[place][0] = now;
      times[place][1] = now / 2 ** 32;
      const one = bytes[place];
      flatCalls.reserve(one.length).set(one);
      if (flatCalls.decide(one.length) !== 0) throw new Error("not allowed");
    }
  }

  /** The same, and the bytes are made of an object each time. */
  function encoded(count) {
    for (let index = 0; index < count; index++) {
      if (flatCalls.decide(flatCalls.encode(next())) !== 0) throw new Error("not allowed");
    }
  }

  /** Through objects: the answer's headers are formatted, and all is read. */
  function whole(count) {
    for (let index = 0; index < count; index++) {
      if (engine.decide(store, next()).verdict !== "allow") throw new Error("not allowed");
    }
  }

  return { flat, encoded, whole };
}
