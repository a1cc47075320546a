// What operators do: create a key and see it once, use it, revoke it, and say from where an account may be used.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Bench, DESKTOP, PHONE, type Opened } from "./page.js";
import { OPERATOR } from "./site.js";

let bench: Bench;

before(async () => {
  bench = await Bench.start();
});

after(async () => {
  await bench.stop();
});

async function makeKey(opened: Opened, account: string): Promise<string> {
  const { page } = opened;
  await opened.press("text=API keys");
  await opened.press("text=New API key");
  await page.check(`input[value="reports"]`);
  await opened.press("text=Create API key");
  assert.match(page.url(), new RegExp(`/settings/keys/made\\?account=${account}$`));
  return page.inputValue("#key");
}

test("a key is shown once, works, and is refused from its revocation on", async () => {
  const { site } = bench;
  await site.account("acme", { balance: 100 });
  const opened = await bench.inside();
  const { page } = opened;
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await opened.go("/settings/account?account=acme");
  const key = await makeKey(opened, "acme");
  assert.match(key, /^tg_live_[0-9A-Za-z]{36}$/);
  await page.click("text=Copy >> nth=-1");
  await page.waitForSelector("[data-copied]:text('Copied.')");
  assert.equal(await page.evaluate("navigator.clipboard.readText()"), key);

  await page.reload();
  assert.equal((await page.content()).includes("tg_live_"), false, "a reload shows it again");
  await page.goBack();
  await page.goForward();
  assert.equal((await page.content()).includes("tg_live_"), false, "going back shows it again");
  assert.equal((await site.keys("acme")).length, 1, "and none of it made another key");

  assert.equal((await site.decide(key)).verdict, "allow");
  assert.equal(await site.forward(key, "/messages"), 200);
  await opened.press("text=To the API keys");
  await opened.press("text=Revoke");
  assert.equal((await site.decide(key)).verdict, "allow", "it was only asked");
  await opened.press("text=Revoke this key");
  assert.match(await opened.text(".notice"), /was revoked/);
  assert.equal((await site.decide(key)).status, 401);
  assert.equal(await site.forward(key, "/messages"), 401);
  await opened.close();
});

test("once a network is added, requests from elsewhere are refused", async () => {
  const { site } = bench;
  await site.account("shut", {});
  const { token } = await site.key("shut", { scopes: ["reports"] });
  assert.equal((await site.decide(token)).status, 200);
  const opened = await bench.inside();
  const { page } = opened;
  await opened.go("/settings/account?account=shut");
  await opened.press("text=Source networks");
  await page.fill("#network", "192.0.2.0/24");
  await opened.press("button:text('Add network')");
  assert.match(await opened.text(".warning"), /would have been refused:\s+203\.0\.113\.7 \(1\)/);
  assert.equal((await site.decide(token)).status, 200, "it was only warned of");
  await opened.press("text=Add it and refuse others");
  const refused = await site.decide(token);
  assert.deepEqual([refused.status, refused.code], [403, "ip_not_allowed"]);
  assert.equal((await site.decide(token, "GET /messages", "192.0.2.7")).status, 200);
  assert.match(await opened.text("table >> nth=1"), /203\.0\.113\.7\s+\d\s+refused/);
  await opened.close();
});

test("a rotated key, money, and an orphan", async () => {
  const { site } = bench;
  await site.account("busy", { balance: 50, spend_caps: [{ per: "day", amount: 100 }] });
  const { token } = await site.key("busy", { scopes: ["sms:send", "reports"] });
  assert.equal((await site.decide(token, "POST /sms/send")).verdict, "allow");
  const opened = await bench.inside();
  const { page } = opened;
  await opened.go("/settings/account?account=busy");
  assert.match(await opened.text(".links"), /1 orphaned reservation/);
  await opened.press("text=1 orphaned");
  await opened.press("table >> text=Settle");
  await page.fill("#amount", "9");
  await opened.press("text=Settle it");
  assert.match(await opened.text("#amount-problem"), /more than was reserved/);
  assert.equal(await page.inputValue("#amount"), "9");
  await page.fill("#amount", "2");
  await opened.press("text=Settle it");
  assert.match(await opened.text(".notice"), /2 was posted/);
  const { balance, held } = await site.shown("busy");
  assert.deepEqual([balance, held], [48, 0]);

  await opened.press("text=Caps and wallet");
  await page.fill("#amount", "1000");
  await opened.press("button:text('Pay in')");
  await page.waitForSelector(".notice:text('1000 was paid in')");
  assert.equal((await site.shown("busy")).balance, 1048);
  // Removing asks; who says no has removed nothing.
  page.once("dialog", (dialog) => void dialog.dismiss());
  await page.click("button:text('Remove')");
  assert.equal((await site.shown("busy")).spend_caps.length, 1);
  page.once("dialog", (dialog) => void dialog.accept());
  await opened.press("button:text('Remove')");
  await page.waitForSelector(".notice");
  assert.equal((await site.shown("busy")).spend_caps.length, 0);

  await opened.press("text=API keys");
  await opened.press("text=Rotate");
  await page.selectOption("#grace", "none");
  await opened.press("text=Rotate this key");
  const rotated = await page.inputValue("#key");
  assert.equal((await site.decide(token)).status, 401);
  assert.equal((await site.decide(rotated)).status, 200);
  await opened.close();
});

test("everything works without script", async () => {
  const { site } = bench;
  const opened = await bench.open(PHONE, false);
  const { page } = opened;
  await opened.logIn();
  await page.fill("#name", "plain");
  await page.fill("#balance", "30");
  await opened.press("text=Create account");
  assert.equal(await opened.text("h1"), "plain");
  const key = await makeKey(opened, "plain");
  assert.equal(await page.locator("[data-copy]").isVisible(), false, "a button that could do nothing");
  assert.equal((await site.decide(key)).status, 200);
  await opened.press("text=Caps and wallet");
  await page.fill("#amount", "12");
  await opened.press("button:text('Pay in')");
  await page.fill("#cap_amount", "5");
  await opened.press("button:text('Add cap')");
  const shown = await site.shown("plain");
  assert.deepEqual([shown.balance, shown.spend_caps.length], [42, 1]);
  await opened.press("button:text('Remove')");
  assert.equal((await site.shown("plain")).spend_caps.length, 0);
  await opened.press("text=Source networks");
  await page.fill("#network", "192.0.2.0/24");
  await opened.press("button:text('Add network')");
  await opened.press("text=Add it and refuse others");
  assert.equal((await site.decide(key)).status, 403);
  await opened.press("a:text('Remove')");
  await opened.press("text=Remove it and open the account");
  assert.equal((await site.decide(key)).status, 200);
  await opened.press("text=Decisions");
  await page.selectOption("#verdict", "deny");
  await page.fill("#account", "plain");
  await opened.press("text=Filter");
  await opened.press("table.cards a >> nth=0");
  assert.match(await opened.text("h1"), /deny 403 ip_not_allowed/);
  await opened.press("text=Accounts >> nth=0");
  await opened.press("text=plain");
  await opened.press("text=API keys");
  await opened.press("text=Revoke");
  await opened.press("text=Revoke this key");
  assert.equal((await site.decide(key)).status, 401);
  await opened.press("text=Log out");
  await opened.go("/settings/accounts");
  assert.equal(await opened.text("h1"), "Log in");
  await opened.close();
});

/** Presses Tab until this has the focus, and checks that the focus can be seen. */
async function tabTo({ page }: Opened, selector: string): Promise<void> {
  for (let pressed = 0; pressed < 60; pressed += 1) {
    await page.keyboard.press("Tab");
    const isThere = await page.evaluate(
      (wanted) => document.activeElement?.matches(wanted) === true,
      selector,
    );
    if (!isThere) continue;
    const isSeen = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null) return false;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      const isWithin = box.bottom > 0 && box.top < innerHeight;
      return isWithin && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
    });
    assert.ok(isSeen, `the focus on ${selector} cannot be seen`);
    return;
  }
  assert.fail(`${selector} cannot be reached by Tab`);
}

test("the whole flow with the keyboard alone", async () => {
  const { site } = bench;
  const opened = await bench.open(DESKTOP);
  const { page } = opened;
  const { keyboard } = page;
  const enter = async (url: string) => {
    await keyboard.press("Enter");
    await page.waitForURL(url);
  };
  await opened.go("/settings");
  // The field has the focus on its own.
  await page.waitForFunction("document.activeElement?.id === 'token'");
  await keyboard.type(OPERATOR);
  await enter("**/settings/accounts");
  await tabTo(opened, ".skip");
  await keyboard.press("Enter");
  await page.waitForFunction("document.activeElement?.id === 'main'");
  await tabTo(opened, "#name");
  await keyboard.type("keys");
  await enter("**/settings/account?account=keys");
  await tabTo(opened, ".tabs a[href*='/keys?']");
  await enter("**/settings/keys?account=keys");
  await tabTo(opened, "a[href*='/keys/new']");
  await enter("**/settings/keys/new?account=keys");
  // Wrong first: the summary has the focus, and leads to the field.
  await tabTo(opened, "#quota");
  await keyboard.type("many");
  await keyboard.press("Enter");
  await page.waitForFunction("document.activeElement?.className === 'problems'");
  await tabTo(opened, ".problems a[href='#quota']");
  await keyboard.press("Enter");
  await page.waitForFunction("document.activeElement?.id === 'quota'");
  await keyboard.press("Control+a");
  await keyboard.press("Delete");
  await keyboard.press("Shift+Tab");
  await keyboard.press("Shift+Tab");
  await keyboard.press("Space");
  await tabTo(opened, ".panel button");
  await enter("**/settings/keys/made?account=keys");
  await tabTo(opened, "#key");
  const selected = await page.evaluate("getSelection()?.toString()");
  const key = await page.inputValue("#key");
  assert.ok(selected === key || key.startsWith("tg_live_"));
  const status = (await site.decide(key, "POST /sms/send", "203.0.113.9")).status;
  assert.equal(status, 402, "its scope is sms:send, and there is no money");
  await tabTo(opened, "[data-copy]");
  await tabTo(opened, "main > p a");
  await enter("**/settings/keys?account=keys");
  await tabTo(opened, "td a.danger");
  await enter("**/settings/keys/revoke?**");
  await tabTo(opened, ".panel button");
  await enter("**/settings/keys?account=keys");
  assert.equal((await site.decide(key, "POST /sms/send")).status, 401);
  await tabTo(opened, ".top button");
  await enter("**/settings/login");
  await opened.close();
});
