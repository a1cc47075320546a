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

  /** Through flat bytes: the request is written, and the verdict read. */
  function flat(count) {
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

  return { flat, whole };
}
