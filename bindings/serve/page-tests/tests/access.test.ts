// Whether everybody can use it: small and large screens, light and dark, by reading aloud.

import axe from "axe-core";
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Bench, DESKTOP, PHONE, type Opened, type Screen } from "./page.js";

let bench: Bench;
let opened: Opened;
let digest = "";
let revoked = "";

/** Where pictures of all pages go, for looking at them. */
const SHOTS = process.env["TOLLGATE_SHOTS"];

before(async () => {
  bench = await Bench.start();
  await fill();
  opened = await bench.inside();
  if (SHOTS !== undefined) await mkdir(SHOTS, { recursive: true });
});

after(async () => {
  await opened.close();
  await bench.stop();
});

/** Something to see on every page. */
async function fill(): Promise<void> {
  const { site } = bench;
  for (const name of ["globex", "<b>bold</b>", "../x", "a very long name ".repeat(7).trim()]) {
    await site.account(name, { balance: 5000 });
  }
  const spend_caps = [
    { per: "day", amount: 20 },
    { per: "month", amount: 2000 },
    { per: "lifetime", amount: 100000, shadow: true },
  ];
  await site.account("acme", { balance: 5000, spend_caps, senders: ["ACME", "+15550100"] });
  const full = await site.key("acme", { scopes: ["sms:send", "reports"] });
  digest = full.digest;
  const narrow = await site.key("acme", {
    scopes: ["reports"],
    networks: ["192.0.2.0/24", "2001:db8:1234:5678:9abc:def0::/96"],
    quota: { limit: 5, window_ms: 60_000 },
    spend_caps: [{ per: "day", amount: 50 }],
    expires_ms: Date.now() + 30 * 86_400_000,
  });
  const gone = await site.key("acme", { scopes: ["sms:send"] });
  revoked = gone.token;
  await site.api("DELETE", `/api/tokens/${gone.digest}`);
  for (let sent = 0; sent < 5; sent += 1) await site.decide(full.token, "POST /sms/send");
  for (let read = 0; read < 18; read += 1) await site.decide(full.token);
  await site.decide(narrow.token);
  await site.decide(narrow.token, "GET /messages", "192.0.2.9");
  await site.decide(revoked);
  await site.decide(full.token, `DELETE /${"a/very/long/path/".repeat(12)}`);
  const networks = ["198.51.100.0/24", "203.0.113.7"];
  await site.account("shut", { networks });
}

interface Step {
  name: string;
  path: string;
  act?: (page: Page, opened: Opened) => Promise<void>;
}

const STEPS: readonly Step[] = [
  { name: "accounts", path: "/settings/accounts" },
  { name: "accounts-none", path: "/settings/accounts?search=nobody" },
  { name: "account", path: "/settings/account?account=acme", act: (page) => page.click("summary") },
  { name: "keys", path: "/settings/keys?account=acme" },
  { name: "keys-none", path: "/settings/keys?account=globex" },
  { name: "new-key", path: "/settings/keys/new?account=acme" },
  {
    name: "new-key-problems",
    path: "/settings/keys/new?account=acme",
    act: async (page, opened) => {
      await page.fill("#networks", "nonsense");
      await page.fill("#quota", "many");
      await opened.press("text=Create API key");
    },
  },
  {
    name: "made",
    path: "/settings/keys/new?account=globex",
    act: async (page, opened) => {
      await page.check("input[value=reports]");
      await opened.press("text=Create API key");
      await page.click("text=Copy >> nth=-1");
    },
  },
  { name: "made-gone", path: "/settings/keys/made?account=acme" },
  { name: "rotate", path: "/settings/keys/rotate?account=acme&key=DIGEST" },
  { name: "revoke", path: "/settings/keys/revoke?account=acme&key=DIGEST" },
  { name: "networks", path: "/settings/networks?account=shut" },
  {
    name: "networks-warning",
    path: "/settings/networks?account=acme",
    act: async (page, opened) => {
      await page.fill("#network", "192.0.2.0/24");
      await opened.press("button:text('Add network')");
    },
  },
  { name: "network-remove", path: "/settings/networks/remove?account=shut&network=203.0.113.7" },
  {
    name: "money",
    path: "/settings/money?account=acme",
    act: async (page, opened) => {
      await page.fill("#amount", "1.5");
      await opened.press("button:text('Pay in')");
    },
  },
  { name: "limits", path: "/settings/limits?account=acme&address=203.0.113.7" },
  { name: "limits-none", path: "/settings/limits?account=globex&address=nowhere" },
  { name: "reservations", path: "/settings/reservations?account=acme" },
  { name: "settle", path: "/settings/reservations/settle?account=acme&number=1" },
  { name: "void", path: "/settings/reservations/void?account=acme&number=1" },
  { name: "decisions", path: "/settings/decisions", act: (page) => page.click("summary") },
  { name: "decisions-none", path: "/settings/decisions?account=globex" },
  { name: "decision", path: "/settings/decision?number=23" },
  { name: "not-found", path: "/settings/account?account=nobody" },
  {
    name: "long-name",
    path: `/settings/account?account=${encodeURIComponent("a very long name ".repeat(7).trim())}`,
  },
];

interface Violation {
  id: string;
  impact: string;
  nodes: string[];
}

/** What dark colours may change; all other rules are about what is the same in both. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"];

/** Of a page into which axe was loaded. */
async function violations(page: Page, rules?: readonly string[]): Promise<Violation[]> {
  const runOnly = rules === undefined ? {} : { runOnly: rules };
  const options = JSON.stringify({ selectors: false, resultTypes: ["violations"], ...runOnly });
  const found = await page.evaluate(`axe.run(document, ${options}).then((run) =>
    run.violations.map(({ id, impact, nodes }) => (
      { id, impact, nodes: nodes.map((node) => node.html + ": " + node.failureSummary) }
    )))`);
  return found as Violation[];
}

const SCREENS: readonly Screen[] = [
  DESKTOP,
  { ...DESKTOP, scheme: "dark" },
  PHONE,
  { ...PHONE, scheme: "dark" },
];

/** The page as it is, on every screen. */
async function inspect({ page }: Opened, name: string): Promise<void> {
  // Evaluated by the debugger, which the page's content security policy does not bind.
  await page.evaluate(axe.source);
  for (const { width, height, scheme } of SCREENS) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
    const where = `${name} ${width} ${scheme}`;
    if (SHOTS !== undefined) {
      await page.screenshot({ path: `${SHOTS}/${where.replaceAll(" ", "-")}.png`, fullPage: true });
    }
    const rules = scheme === "dark" ? OF_COLOURS : undefined;
    assert.deepEqual(await violations(page, rules), [], where);
    const over = await page.evaluate(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
    assert.equal(over, 0, `${where}: wider than the screen`);
  }
}

test("axe finds nothing, and nothing overflows: login", async () => {
  const opened = await bench.open();
  await opened.go("/settings/login");
  await inspect(opened, "login");
  await opened.page.fill("#token", "not-the-operators-token");
  await opened.press("main button");
  await inspect(opened, "login-refused");
  await opened.close();
});

for (const { name, path, act } of STEPS) {
  test(`axe finds nothing, and nothing overflows: ${name}`, async () => {
    await opened.go(path.replace("DIGEST", digest));
    await act?.(opened.page, opened);
    await inspect(opened, name);
    assert.deepEqual(opened.faults, []);
  });
}

test("the checks of a page can fail", async () => {
  const opened = await bench.inside(PHONE);
  const { page } = opened;
  await opened.go("/settings/accounts");
  await page.evaluate(axe.source);
  await page.evaluate(`document.querySelector("#name").previousElementSibling.remove();
    document.querySelector("label[for=name]")?.remove();
    document.querySelector("h1").style.color = "#ddd";
    document.querySelector("h1").style.width = "900px";`);
  const found = (await violations(page)).map(({ id }) => id);
  assert.ok(found.includes("color-contrast") && found.includes("label"), found.join());
  const ofColours = (await violations(page, OF_COLOURS)).map(({ id }) => id);
  assert.deepEqual(ofColours, ["color-contrast"]);
  assert.notEqual(await page.evaluate("document.documentElement.scrollWidth"), 390);
  await page.evaluate(`(() => {
    const image = document.createElement("img");
    image.src = "https://elsewhere.invalid/x.png";
    document.body.append(image);
    const style = document.createElement("style");
    style.textContent = "h1 { color: red }";
    document.body.append(style);
  })()`);
  await page.waitForTimeout(200);
  assert.ok(opened.faults.some((fault) => fault.includes("Content Security Policy")));
  opened.faults.length = 0;
  await opened.close();
});
