import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { Bench, PHONE, type Opened } from "./page.js";

let bench: Bench;

before(async () => {
  bench = await Bench.start();
});

after(async () => {
  await bench.stop();
});

/** A test on a page of its own, which must have done nothing that it should not. */
function onPage(name: string, act: (opened: Opened) => Promise<void>, fragment = ""): void {
  test(name, async () => {
    const opened = await bench.open(undefined, fragment);
    try {
      await act(opened);
      assert.deepEqual(opened.faults, []);
    } finally {
      await opened.close();
    }
  });
}

const POLICY = `[tokens]
format = "opaque"
[scopes]
"sms:send" = ["POST /sms/send"]
[limits.token]
per = "token"
quota = 1
window_ms = 60_000
[routes."POST /sms/send"]
idempotency = true
price = 5
`;

// Scenarios on what a step may look like, such as a number as text. The package's `Session` takes
// some of these, and words its errors in its own way.
const ABOUT_SHAPES = new Set([
  "parallel-steps-are-read-before-any-runs",
  "times-are-whole-and-not-negative",
  "cost-that-is-no-amount",
  "amounts-are-whole-and-not-negative",
  "protocol: a policy step comes first",
  "protocol: unknown ops, unknown fields, missing fields and wrong types are errors",
  "protocol: a request takes the place of an earlier one with its id",
  "protocol: parallel replies come in the order of its steps, and bad ones run nothing",
]);

const VECTORS = new URL("../../../../tests/vectors/", import.meta.url);

onPage("the first click shows an allow", async (opened) => {
  const { page } = opened;
  assert.equal(await opened.text("#policy-state"), "In force (TOML)");
  assert.match(await opened.send(), /Allow\s+200 OK/);
  assert.match(await opened.text("#facts"), /reserved\s+5/);
  assert.match(await opened.text("#answer"), /^x-ratelimit-remaining: 19$/im);
  const held = page.locator("#accounts tr").first().locator("td");
  assert.deepEqual(await held.allInnerTexts(), ["500", "5", "495", "0", "1"]);
  assert.deepEqual(opened.asked.sort(), ["", "app.js", "style.css", "tollgate.wasm"]);
});

onPage("a quota of 1 denies the second request, with its headers", async (opened) => {
  await opened.policy(POLICY);
  await opened.page.fill("#key", "");
  assert.match(await opened.send(), /Allow/);
  assert.match(await opened.send(), /Deny\s+429 Too Many Requests\s+rate_limited/);
  const answer = await opened.text("#answer");
  assert.match(answer, /^HTTP\/1.1 429 Too Many Requests\n/);
  assert.match(answer, /^x-ratelimit-limit: 1$/im);
  assert.match(answer, /^x-ratelimit-remaining: 0$/im);
  assert.match(answer, /^retry-after: 60$/im);
  assert.match(answer, /"code": ?"rate_limited"/);
  await opened.page.click("text=+1 min");
  assert.match(await opened.send(), /Allow/);
});

onPage("a broken policy names its place, and the last good one stays in force", async (opened) => {
  const { page } = opened;
  await opened.policy(POLICY.replace("quota = 1\n", "quta = 1\n"));
  assert.match(await opened.text("#policy-state"), /the last good policy stays in force/);
  const problems = await opened.text("#problems");
  assert.match(problems, /error\s+line 7/);
  assert.match(problems, /quta/);
  // The limit lacks its quota, and has what is none: both are marked.
  const marked = await page.locator(".cm-lintRange-error").allInnerTexts();
  assert.ok(marked.includes("quta") && marked.includes("limits.token"), marked.join());
  for (let sent = 0; sent < 2; sent += 1) {
    await page.click("#new-key");
    assert.match(await opened.send(), /Allow/);
  }
  await page.locator("#problems button").first().click();
  assert.equal(await page.evaluate("document.activeElement?.id"), "policy-editor");
  await page.click("text=Go back to it");
  assert.equal(await opened.text("#policy-state"), "In force (TOML)");
});

onPage("Ctrl+Enter in the editor sends, and leaves the text alone", async (opened) => {
  const { page } = opened;
  await page.locator(".cm-content").click();
  await page.keyboard.press("Control+End");
  await page.keyboard.type("# typed");
  await page.keyboard.press("Control+Enter");
  assert.match(await opened.text("#verdict"), /Allow/);
  assert.match(await page.locator(".cm-line").last().innerText(), /# typed$/);
});

onPage("JSON policies have their errors at their places too", async (opened) => {
  const limit = '"a": {"per": "token", "quota": 0, "window_ms": 1}';
  await opened.policy(`{\n  "limits": {\n    ${limit}\n  }\n}`);
  assert.match(await opened.text("#problems"), /error\s+line 3\s+limits\.a\.quota/);
  const marked = opened.page.locator(".cm-lintRange-error").first();
  assert.equal(await marked.innerText(), '"quota"');
});

onPage("what is valid and probably not meant is a warning at its place", async (opened) => {
  await opened.policy(POLICY.replace('"sms:send" = [', 'empty = []\n"sms:send" = ['));
  assert.match(await opened.text("#policy-state"), /In force \(TOML, 1 warning\)/);
  assert.match(await opened.text("#problems"), /warning\s+line 4\s+scopes\.empty/);
});

onPage("explain shows every check, and consumes nothing", async (opened) => {
  const { page } = opened;
  await page.fill("#peer", "");
  await page.click("#explain");
  assert.match(await opened.text("#verdict"), /Allow[^]*nothing consumed/);
  const checks = await page.locator("#trace strong").allInnerTexts();
  const expected = [
    "bearer token",
    "credential",
    "source network",
    "scope",
    "request limit",
    "idempotency",
    "validation",
    "wallet",
  ];
  assert.deepEqual(checks, expected);
  await page.selectOption("#token-choice", "demo-read");
  await page.click("#explain");
  assert.match(await opened.text("#verdict"), /Deny\s+403 Forbidden\s+insufficient_scope/);
  assert.match(await opened.text("#trace .decided"), /scope[^]*To pass: grant the token/);
  const money = page.locator("#accounts tr").first().locator("td");
  assert.deepEqual(await money.allInnerTexts(), ["500", "0", "500", "0", "0"]);
});

onPage("a retry with the same key replays what the first settled", async (opened) => {
  const { page } = opened;
  assert.match(await opened.send(), /Allow/);
  assert.match(await opened.send(), /409 Conflict\s+idempotency_in_flight/);
  await page.click("#run-1");
  await page.fill("#finish-form [name=body]", "sent once");
  await page.click("#finish-form .primary");
  assert.equal(await opened.text("#finish-state"), "Settled, 5 posted.");
  assert.match(await opened.send(), /Replay\s+202 Accepted/);
  const answer = await opened.text("#answer");
  assert.match(answer, /^idempotent-replayed: true$/im);
  assert.match(answer, /\n\nsent once$/);
  await page.fill("#body", "another body");
  assert.match(await opened.send(), /422 Unprocessable Content\s+idempotency_key_reused/);
  const money = page.locator("#accounts tr").first().locator("td");
  assert.deepEqual(await money.allInnerTexts(), ["495", "0", "495", "5", "0"]);
});

onPage("void gives the money back, unknown holds it until the lease ends", async (opened) => {
  const { page } = opened;
  const money = page.locator("#accounts tr").first().locator("td");
  await opened.send();
  await page.check("[name=kind][value=void]");
  await page.click("#finish-form .primary");
  assert.match(await opened.text("#finish-state"), /^Void/);
  assert.deepEqual(await money.allInnerTexts(), ["500", "0", "500", "0", "0"]);
  await page.fill("#key", "");
  await opened.send();
  assert.match(await opened.text("#finish"), /holds no idempotency key/);
  assert.equal(await page.locator("#finish-response").isVisible(), false);
  await page.check("[name=kind][value=unknown]");
  await page.click("#finish-form .primary");
  assert.match(await opened.text("#finish-state"), /^Unknown/);
  assert.deepEqual(await money.allInnerTexts(), ["500", "5", "495", "0", "1"]);
  await page.click("#clock-menu summary");
  await page.click("#clock-advance button");
  await assertSoon(async () => (await money.allInnerTexts()).slice(0, 3), ["500", "0", "500"]);
});

onPage("accounts and tokens: add, deposit, caps, networks, revoke, start over", async (opened) => {
  const { page } = opened;
  await page.click("text=Add or change an account");
  await page.fill("#account-form [name=id]", "other");
  await page.fill("#account-form [name=balance]", "7");
  await page.fill("#account-form [name=networks]", "203.0.113.0/24");
  await page.fill("#account-form [name=spendCaps]", "day 5");
  await page.click("#account-form .primary");
  await page.click("text=Add or change a token");
  await page.fill("#token-form [name=token]", "mine");
  await page.selectOption("#token-account", "other");
  await page.click("#scope-hint button:has-text('sms:send')");
  await page.click("#token-form .primary");
  await page.click("button[aria-label='Use token mine']");
  await page.fill("#key", "");
  assert.match(await opened.send(), /403 Forbidden\s+ip_not_allowed/);
  await page.fill("#peer", "203.0.113.9");
  assert.match(await opened.send(), /Allow/);
  assert.match(await opened.send(), /403 Forbidden\s+spend_cap_exceeded/);
  await page.fill("[aria-label='Amount to deposit to other']", "100");
  await page.click("[aria-label='Deposit to other']");
  const balance = page.locator("#accounts tr", { hasText: "other" }).first().locator("td");
  await assertSoon(async () => (await balance.allInnerTexts()).slice(0, 2), ["107", "5"]);
  await page.click("button[aria-label='Revoke token mine']");
  assert.match(await opened.send(), /401 Unauthorized\s+invalid_token/);
  assert.match(await opened.text("#tokens .revoked"), /^mine[^]*revoked$/);
  await page.click("#start-over");
  await assertSoon(async () => (await balance.allInnerTexts()).slice(0, 2), ["7", "0"]);
  assert.equal(await page.locator("#tokens .revoked").count(), 0);
  assert.match(await opened.send(), /Allow/);
});

onPage("what the engine refuses is told where it was asked for", async (opened) => {
  const { page } = opened;
  await page.fill("#target", "/sms/send?\u20ac");
  await page.click("#send");
  assert.notEqual(await opened.text("#request-problem"), "");
  await page.fill("#target", "/sms/send");
  await page.click("text=Headers, cost, sender, validation");
  await page.fill("[name=cost]", "1.5");
  await page.click("#send");
  assert.match(await opened.text("#request-problem"), /Cost: write a whole number/);
  await page.fill("[name=cost]", "");
  await page.fill("[name=invalid]", "no such number");
  assert.match(await opened.send(), /422 Unprocessable Content\s+validation_failed/);
  assert.equal(await page.locator("#request-problem").innerText(), "");
  assert.equal(await page.locator("#failure").isVisible(), false);
});

onPage("the files of vectors pass, but for the shape of steps", async (opened) => {
  const { page } = opened;
  const names = readdirSync(VECTORS).filter((name) => name.endsWith(".json"));
  assert.ok(names.length >= 15, `${names.length} files`);
  await page.click("#tab-scenario");
  for (const name of names) {
    const path = new URL(name, VECTORS).pathname;
    const file = JSON.parse(readFileSync(path, "utf8")) as { scenarios: { steps: unknown[] }[] };
    const steps = file.scenarios.reduce((sum, scenario) => sum + scenario.steps.length, 0);
    await page.setInputFiles("#scenario-file", path);
    await assertSoon(() => opened.text("#scenario-problem"), "");
    await page.click("#scenario-run");
    const ran = new RegExp(`^${steps} of ${steps} steps: `);
    await assertSoon(async () => ran.test(await opened.text("#scenario-summary")), true, name);
    const failed = await page.locator(".scenario.bad > summary .name").allInnerTexts();
    assert.deepEqual(failed.filter((scenario) => !ABOUT_SHAPES.has(scenario)), [], name);
    const all = await page.locator(".scenario").count();
    assert.equal(all, file.scenarios.length, name);
  }
});

onPage("a wrong expectation fails with its difference, also step by step", async (opened) => {
  const { page } = opened;
  await page.click("#tab-scenario");
  const text = await page.inputValue("#scenario-text");
  await page.fill("#scenario-text", text.replace('"settled": 7', '"settled": 8'));
  await page.click("#scenario-run");
  await assertSoon(() => opened.text("#scenario-summary"), "9 of 9 steps: 1 not as expected");
  assert.match(await opened.text(".diff"), /settled: expected 8, got 7/);
  assert.equal(await page.locator(".results > li").count(), 9);
  await page.check("#scenario-only");
  assert.equal(await page.locator(".results > li").count(), 1);
  await page.uncheck("#scenario-only");
  await page.fill("#scenario-text", text);
  await page.click("#scenario-step");
  const one = "1 of 9 steps: all as expected, 8 to go";
  await assertSoon(() => opened.text("#scenario-summary"), one);
  await page.click("#scenario-step");
  const two = "2 of 9 steps: all as expected, 7 to go";
  await assertSoon(() => opened.text("#scenario-summary"), two);
});

onPage("a scenario that cannot be read says which line", async (opened) => {
  const { page } = opened;
  await page.click("#tab-scenario");
  await page.fill("#scenario-text", '{"op": "restart"}\n{"op": oops}\n');
  await page.click("#scenario-run");
  assert.match(await opened.text("#scenario-problem"), /^line 2: /);
});

onPage("what was done becomes a scenario that passes", async (opened) => {
  const { page } = opened;
  await opened.send();
  await page.click("#finish-form .primary");
  assert.match(await opened.send(), /Replay/);
  await opened.policy(POLICY);
  await page.click("#new-key");
  assert.match(await opened.send(), /429/);
  await page.click("button[aria-label='Revoke token demo-send']");
  await page.click("text=+1 min");
  await page.fill("[aria-label='Amount to deposit to acme']", "11");
  await page.click("[aria-label='Deposit to acme']");
  assert.match(await opened.send(), /401/);
  await page.click("#as-scenario");
  await page.click("#scenario-run");
  await assertSoon(() => opened.text("#scenario-summary"), "12 of 12 steps: all as expected");
});

onPage("a burst lets through as many as the quota says", async (opened) => {
  const { page } = opened;
  const quota = 'quota = 7\nalgorithm = "sliding_window"';
  await opened.policy(POLICY.replace("quota = 1\n", `${quota}\n`));
  await page.click("#tab-burst");
  await page.fill("#burst-form [name=rate]", "3");
  await page.fill("#burst-form [name=seconds]", "59");
  await page.fill("#burst-form [name=answerMs]", "20");
  await page.click("#burst-run");
  await page.waitForSelector("#burst-results:not([hidden])");
  const facts = await opened.text("#burst-facts");
  assert.match(facts, /sent\s+177\s+allowed\s+7\s+denied\s+170 rate_limited/);
  assert.match(facts, /posted\s+35/);
  const label = await page.locator("#limit-chart svg").getAttribute("aria-label");
  assert.equal(label, "Limit over time: 7 allowed, 170 denied");
  const cells = await page.locator("#limit-table tbody tr").evaluateAll((rows) =>
    rows.map((row) => [...row.querySelectorAll("td")].map((cell) => Number(cell.textContent))),
  );
  const sum = (column: number) => cells.reduce((total, row) => total + (row[column] ?? 0), 0);
  assert.deepEqual([sum(0), sum(1)], [7, 170]);
  assert.deepEqual([cells.length, cells[0]?.[2], cells.at(-1)?.[2]], [59, 4, 0]);
  const money = await page.locator("#wallet-table tbody tr").last().locator("td").allTextContents();
  assert.deepEqual(money, ["465", "0", "465"]);
  assert.equal(await page.locator("#wallet-chart polyline").count(), 3);
  const own = page.locator("#accounts tr").first().locator("td");
  assert.equal(await own.first().innerText(), "500");
});

test("an engine that cannot be loaded is told, and the page is not empty", async () => {
  const opened = await bench.openWith(async (page) => {
    await page.route("**/tollgate.wasm", (route) => route.fulfill({ status: 404, body: "" }));
  });
  try {
    await opened.page.waitForSelector("#failure:not([hidden])");
    assert.match(await opened.text("#failure"), /tollgate\.wasm could not be loaded \(404\)/);
    assert.equal(await opened.page.locator("#loading").isVisible(), false);
  } finally {
    await opened.close();
  }
});

test("an engine that traps is told, and nothing more is done with it", async () => {
  const opened = await bench.openWith(async (page) => {
    await page.addInitScript(TRAP);
  });
  try {
    await opened.page.waitForSelector("#app:not([hidden])");
    await opened.page.fill("#key", "kept");
    await opened.page.click("#send");
    await opened.page.waitForSelector("#failure:not([hidden])");
    assert.match(await opened.text("#failure"), /The engine stopped[^]*as told[^]*Reload the page/);
    await opened.draft("kept");
    await opened.page.click("#failure button");
    await opened.page.waitForSelector("#failure", { state: "hidden" });
    await opened.page.waitForSelector("#app:not([hidden])");
    assert.equal(await opened.page.inputValue("#key"), "kept");
  } finally {
    await opened.close();
  }
});

// Whatever explains a request traps.
const TRAP = `
  const Real = WebAssembly.Instance;
  WebAssembly.Instance = function (module, imports) {
    const exports = { ...new Real(module, imports).exports };
    for (const name of Object.keys(exports).filter((name) => name.includes("explain"))) {
      exports[name] = () => { throw new WebAssembly.RuntimeError("as told"); };
    }
    return { exports };
  };
`;

onPage("a link carries the page, and warns of secrets", async (opened) => {
  const { page } = opened;
  await opened.policy(POLICY);
  await page.fill("#key", "from-the-link");
  await page.click("#open-share");
  await page.waitForSelector("#share[open]");
  assert.match(await opened.text("#share"), /Share no secrets/);
  const link = await page.inputValue("#share-link");
  assert.ok(link.startsWith(`${opened.url}#p=`), link);
  const other = await bench.open(PHONE, link.slice(opened.url.length));
  try {
    assert.match(await other.text("#notice"), /Loaded from a link/);
    assert.equal(await other.page.inputValue("#key"), "from-the-link");
    assert.match(await other.send(), /Allow/);
    await other.page.click("#new-key");
    assert.match(await other.send(), /429/);
    assert.equal(other.page.url(), other.url);
    assert.deepEqual(other.faults, []);
  } finally {
    await other.close();
  }
});

onPage(
  "a link that cannot be read says so, and leaves the page as it is",
  async (opened) => {
    assert.match(await opened.text("#notice"), /The link cannot be read/);
    assert.match(await opened.send(), /Allow/);
  },
  "#p=AAAA",
);

onPage("the draft is kept, unless its user says no", async (opened) => {
  const { page } = opened;
  const reload = async () => {
    await page.reload();
    await page.waitForSelector("#app:not([hidden])");
  };
  await page.fill("#key", "kept");
  await opened.draft("kept");
  await reload();
  assert.equal(await page.inputValue("#key"), "kept");
  await page.uncheck("#keep-draft");
  await page.fill("#key", "lost");
  await page.waitForTimeout(800);
  await reload();
  assert.equal(await page.inputValue("#key"), "order-1001");
  assert.equal(await page.isChecked("#keep-draft"), false);
});

onPage("a draft that does not compile waits for its correction", async (opened) => {
  const { page } = opened;
  await opened.policy(POLICY.replace("quota = 1\n", "quota = 0\n"));
  await opened.draft("quota = 0");
  await page.reload();
  await page.waitForSelector("#app:not([hidden])");
  assert.match(await opened.text("#policy-state"), /no policy is in force/);
  await page.click("#send");
  assert.match(await opened.text("#request-problem"), /No policy is in force yet/);
  assert.match(await opened.text("#accounts"), /acme\s+waits for a policy/);
  await opened.policy(POLICY);
  assert.match(await opened.send(), /Allow/);
  assert.equal(await opened.text("#request-problem"), "");
  await assertSoon(async () => /acme\s+500\s+5/.test(await opened.text("#accounts")), true);
  assert.equal(await opened.text("#state-problem"), "");
});

onPage("every example compiles, and its first request is allowed", async (opened) => {
  const { page } = opened;
  const examples = page.locator("#example-list button");
  for (let index = 0; index < (await examples.count()); index += 1) {
    await page.click("#examples summary");
    await examples.nth(index).click();
    await page.waitForSelector("#notice:not([hidden])");
    const name = await opened.text("#notice span");
    // Each shadow rule is a warning.
    const plain = /^In force \((TOML|JSON)\)$/;
    const expected = name.includes("Shadow") ? /^In force \(TOML, 2 warnings\)$/ : plain;
    assert.match(await opened.text("#policy-state"), expected, name);
    if (name.includes("Nearly empty")) continue;
    assert.match(await opened.send(), /Allow/, name);
    await page.click("#notice button:has-text('Close')");
  }
});

onPage("shadow rules are marked", async (opened) => {
  await opened.page.click("#examples summary");
  await opened.page.click("text=Shadow rules behind a proxy");
  for (let sent = 0; sent < 3; sent += 1) assert.match(await opened.send(), /Allow/);
  const facts = await opened.text("#facts");
  assert.match(facts, /would deny: limit tighter, spend caps, networks/);
  assert.equal(await opened.page.locator("#trace .shadow").count(), 3);
  assert.match(await opened.text("#facts"), /account\s+acme/);
});

/** Waits until something reads so: the page draws what a store answers a moment later. */
async function assertSoon(
  read: () => Promise<unknown>,
  expected: unknown,
  about = "",
): Promise<void> {
  const untilMs = Date.now() + 20_000;
  let actual = await read();
  while (JSON.stringify(actual) !== JSON.stringify(expected) && Date.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    actual = await read();
  }
  assert.deepEqual(actual, expected, about);
}
