// A strict project, compiled with the package's own declarations and with those of nothing else.
import {
  Admin,
  Engine,
  MemoryStore,
  RefusedError,
  generateToken,
  init,
  version,
  type AccountView,
  type Decision,
  type Outcome,
  type Store,
  type TollgateRequest,
} from "tollgate";
import { Session } from "tollgate/scenario";

await init();
const nowMs = 1_700_000_000_000;
const engine: Engine = Engine.preset("sms-gateway", {});
const store: MemoryStore = new MemoryStore({ maxAccounts: 10 });
const admin = new Admin(engine, store);
const token: string = generateToken();
await admin.putAccount({ id: "acme", balance: 500n }, nowMs);
await admin.putToken({ token, account: "acme", scopes: ["sms:send"] }, nowMs);

const request: TollgateRequest = {
  nowMs,
  method: "POST",
  target: "/sms/send",
  headers: new Headers({ authorization: `Bearer ${token}`, "idempotency-key": "order-1" }),
  body: new TextEncoder().encode("hello"),
  cost: 5,
};
const decision: Decision = await engine.decideAsync(store, request);
const verdict: "allow" | "deny" | "replay" = decision.verdict;
if (verdict !== "allow" || decision.ticket === undefined) {
  throw new Error(`${verdict} ${decision.status} ${decision.code ?? ""}`);
}
const outcome: Outcome = { kind: "void" };
const posted: bigint | undefined = await engine.finishAsync(store, decision.ticket, outcome, nowMs);
const account: AccountView = await admin.account("acme", nowMs);
if (posted !== 0n || account.balance !== 500n || account.held !== 0n) {
  throw new Error(`${posted} was posted, ${account.balance} is left`);
}

let refused: string | undefined;
try {
  await admin.deposit("nobody", 1, nowMs);
} catch (error) {
  if (error instanceof RefusedError) refused = error.code;
}
if (refused !== "unknown_account") throw new Error(`a deposit to nobody gave ${refused}`);

// Stores elsewhere are given as one function.
const elsewhere: Store = { send: async (call) => call.message };
void elsewhere;
void Session;

// @ts-expect-error: a request has a time
const untimed: TollgateRequest = { method: "GET", target: "/", headers: [] };
void untimed;

if (!/^\d+\.\d+\.\d+$/.test(version())) throw new Error(version());
// `console` is declared by the DOM, so that no other types are needed.
console.log("ok");
