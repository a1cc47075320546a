// Whether everybody can use it: the keyboard alone, small and large screens, light and dark.

import axe from "axe-core";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Bench, DESKTOP, PHONE, type Opened, type Screen } from "./page.js";

let bench: Bench;

before(async () => {
  bench = await Bench.start();
});

after(async () => {
  await bench.stop();
});

const SCREENS: readonly Screen[] = [
  DESKTOP,
  { ...DESKTOP, scheme: "dark" },
  PHONE,
  { ...PHONE, scheme: "dark" },
];

interface Violation {
  id: string;
  impact: string;
  nodes: string[];
}

async function violations(page: Page): Promise<Violation[]> {
  // Evaluated by the debugger, which the page's content security policy does not bind.
  await page.evaluate(axe.source);
  const found = await page.evaluate(`axe.run(document, { selectors: false }).then((run) =>
    run.violations.map(({ id, impact, nodes }) => (
      { id, impact, nodes: nodes.map((node) => node.html + ": " + node.failureSummary) }
    )))`);
  return found as Violation[];
}

for (const screen of SCREENS) {
  const name = `${screen.width}×${screen.height} ${screen.scheme}`;
  test(`axe finds nothing, and nothing overflows: ${name}`, async () => {
    const opened = await bench.open(screen);
    try {
      for (const [panel, prepare] of Object.entries(PANELS)) {
        const tab = opened.page.locator(`#tab-${panel}`);
        if (await tab.isVisible()) await tab.click();
        await prepare(opened);
        assert.deepEqual(await violations(opened.page), [], panel);
        const over = await opened.page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        assert.equal(over, 0, `${panel} is wider than the screen`);
      }
      await opened.page.click("#open-share");
      assert.deepEqual(await violations(opened.page), [], "share");
      assert.deepEqual(opened.faults, []);
    } finally {
      await opened.close();
    }
  });
}

const PANELS: Readonly<Record<string, (opened: Opened) => Promise<void>>> = {
  policy: async (opened) => {
    await opened.page.locator(".cm-content").click();
    await opened.page.keyboard.press("Control+End");
    await opened.page.keyboard.type("quta = 1\n");
    await opened.page.waitForSelector("#problems li");
  },
  state: async ({ page }) => {
    await page.click("button[aria-label='Revoke token demo-read']");
    await page.click("text=Add or change an account");
    await page.click("text=Add or change a token");
  },
  request: async (opened) => {
    const { page } = opened;
    await page.click("#clock-menu summary");
    await page.click("#clock-now");
    await page.keyboard.press("Escape");
    await opened.send();
    await opened.send();
    await page.click("#run-1");
    await page.click("text=Headers, cost, sender, validation");
  },
  scenario: async ({ page }) => {
    const text = await page.inputValue("#scenario-text");
    await page.fill("#scenario-text", text.replace('"settled": 7', '"settled": 8'));
    await page.click("#scenario-run");
    await page.waitForSelector(".diff");
  },
  burst: async ({ page }) => {
    await page.click("#burst-run");
    await page.waitForSelector("#burst-results:not([hidden])");
    await page.click("#limit-chart + details summary");
  },
};

/** Presses Tab until this has the focus, and checks that the focus can be seen. */
async function tabTo(page: Page, selector: string, key = "Tab"): Promise<void> {
  for (let pressed = 0; pressed < 150; pressed += 1) {
    const isThere = await page.evaluate(
      (wanted) => document.activeElement?.matches(wanted) === true,
      selector,
    );
    if (isThere) return assertVisibleFocus(page, selector);
    await page.keyboard.press(key);
  }
  assert.fail(`${selector} cannot be reached by ${key}`);
}

async function assertVisibleFocus(page: Page, selector: string): Promise<void> {
  const seen = await page.evaluate(() => {
    const element = document.activeElement;
    if (element === null) return false;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const isWithin = box.bottom > 0 && box.top < innerHeight;
    return isWithin && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  });
  assert.ok(seen, `the focus on ${selector} cannot be seen`);
}

test("one whole flow with the keyboard alone", async () => {
  const opened = await bench.open(DESKTOP);
  const { page } = opened;
  const { keyboard } = page;
  try {
    // Into the editor, out again by Tab, and a new account.
    await tabTo(page, "#policy-editor");
    await keyboard.press("Control+Home");
    await keyboard.type("# by keyboard\n");
    await keyboard.press("Tab");
    assert.notEqual(await page.evaluate("document.activeElement?.id"), "policy-editor");
    await page.waitForSelector("#policy:not([aria-busy])", { state: "attached" });
    await tabTo(page, "#state details.add summary");
    await keyboard.press("Enter");
    await tabTo(page, "#account-form [name=id]");
    await keyboard.type("keys");
    await tabTo(page, "#account-form [name=balance]");
    await keyboard.type("9");
    await keyboard.press("Enter");
    await page.waitForSelector("[aria-label='Deposit to keys']");
    // A token for it.
    await tabTo(page, "#state > details.add:last-of-type summary");
    await keyboard.press("Enter");
    await tabTo(page, "#make-token", "Tab");
    await tabTo(page, "#token-form [name=token]", "Shift+Tab");
    await keyboard.type("t-keys");
    await tabTo(page, "#token-account");
    await keyboard.press("End");
    await tabTo(page, "#scope-hint button");
    await page.waitForFunction("document.activeElement?.textContent?.length > 0");
    while ((await page.evaluate("document.activeElement?.textContent")) !== "sms:send") {
      await keyboard.press("Tab");
    }
    await keyboard.press("Space");
    await tabTo(page, "#token-form .primary");
    await keyboard.press("Enter");
    await page.waitForSelector("[aria-label='Use token t-keys']");
    await tabTo(page, "[aria-label='Use token t-keys']", "Shift+Tab");
    await keyboard.press("Enter");
    // Sent from within a field, finished, and loaded from the history.
    await tabTo(page, "#body");
    await keyboard.press("Control+Enter");
    assert.match(await opened.text("#verdict"), /Allow/);
    assert.match(await opened.text("#announce"), /^Allow, 200 OK/);
    assert.match(await opened.text("#facts"), /account\s+keys/);
    await tabTo(page, "#finish-form .primary");
    await keyboard.press("Enter");
    assert.match(await opened.text("#finish-state"), /Settled, 5 posted/);
    await tabTo(page, "#explain", "Shift+Tab");
    await keyboard.press("Enter");
    assert.match(await opened.text("#announce"), /^Replay, 202 Accepted/);
    await tabTo(page, "#run-1");
    await keyboard.press("Enter");
    assert.match(await opened.text("#verdict"), /Allow/);
    // The clock, and the tabs by arrows.
    await tabTo(page, "[data-advance='60000']", "Shift+Tab");
    await keyboard.press("Enter");
    assert.match(await opened.text("#announce"), /^The clock is at /);
    await tabTo(page, "#tab-request", "Shift+Tab");
    await keyboard.press("ArrowRight");
    await tabTo(page, "#tab-scenario");
    await tabTo(page, "#scenario-run");
    await keyboard.press("Enter");
    await page.waitForSelector("#scenario-results details");
    assert.match(await opened.text("#announce"), /9 of 9 steps: all as expected/);
    await tabTo(page, "#tab-scenario", "Shift+Tab");
    await keyboard.press("End");
    await tabTo(page, "#burst-run");
    await keyboard.press("Enter");
    await page.waitForSelector("#burst-results:not([hidden])");
    await tabTo(page, "#burst-results details summary");
    await keyboard.press("Enter");
    assert.equal(await page.locator("#limit-table").isVisible(), true);
    assert.deepEqual(opened.faults, []);
  } finally {
    await opened.close();
  }
});

test("everything that can be clicked can be reached by Tab", async () => {
  const opened = await bench.open(PHONE);
  const { page } = opened;
  try {
    await opened.send();
    for (const panel of ["policy", "state", "request", "scenario", "burst"]) {
      await page.click(`#tab-${panel}`);
      assert.deepEqual(await page.evaluate(UNLABELLED), [], `${panel}: fields without a label`);
      const wanted = (await page.evaluate(CONTROLS)) as string[];
      await page.evaluate("document.activeElement?.blur()");
      const met = new Set<string>();
      for (let pressed = 0; pressed < wanted.length + 20; pressed += 1) {
        await page.keyboard.press("Tab");
        met.add((await page.evaluate(NAME_OF_ACTIVE)) as string);
      }
      assert.deepEqual(wanted.filter((name) => !met.has(name)), [], panel);
    }
  } finally {
    await opened.close();
  }
});

// Names by position, for what has no id. Of a group of radios, and of tabs, one is in the order.
const NAME = `(element) => element.id || (element.closest("[id]") ?? document.body).id + "/" +
  [...(element.closest("[id]") ?? document.body).querySelectorAll("*")].indexOf(element)`;
const NAME_OF_ACTIVE = `(${NAME})(document.activeElement)`;
// A placeholder is no label, though axe lets it pass for one.
const UNLABELLED = `[...document.querySelectorAll("input, select, textarea")]
  .filter((element) => element.labels.length === 0 && !element.ariaLabel)
  .map((element) => element.outerHTML)`;
const CONTROLS = `[...document.querySelectorAll(
    "a, button, input, select, textarea, summary, #policy-editor")]
  .filter((element) => element.checkVisibility() && !element.disabled)
  .filter((element) => element.getAttribute("role") !== "tab" || element.ariaSelected === "true")
  .filter((element) => element.type !== "radio" || element.checked)
  .map(${NAME})`;
