// Pages of other sites, in the browser of an operator who is logged in.

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { after, before, test } from "node:test";
import { Bench, type Opened } from "./page.js";

let bench: Bench;
let foreign: Server;
let body = "";

before(async () => {
  bench = await Bench.start();
  foreign = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(body);
  });
  await new Promise<void>((resolve) => foreign.listen(0, "127.0.0.1", resolve));
  await bench.site.account("acme", { balance: 100 });
});

after(async () => {
  foreign.closeAllConnections();
  await new Promise((resolve) => foreign.close(resolve));
  await bench.stop();
});

function port(): number {
  const address = foreign.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}

/** A form with a session's own tokens, as an attacker who knew them would make it. */
async function deposit(opened: Opened): Promise<string> {
  await opened.go("/settings/money?account=acme");
  const form = opened.page.locator("form[action*='/deposit']");
  const value = (name: string) => form.locator(`[name=${name}]`).inputValue();
  const fields = { csrf: await value("csrf"), once: await value("once"), amount: "7" };
  const inputs = Object.entries(fields).map(([name, text]) => `<input name="${name}" value="${text}">`);
  const action = `${bench.site.url}/settings/money/deposit?account=acme`;
  return `<form method="post" action="${action}">${inputs.join("")}<button>Send</button></form>`;
}

// Another port of the same host is the same site to cookies, which go along; another name is not.
for (const host of ["127.0.0.1", "localhost"]) {
  test(`a form on ${host} and another port changes nothing`, async () => {
    const opened = await bench.inside();
    const { page } = opened;
    body = await deposit(opened);
    let cookie: string | undefined;
    page.on("request", async (request) => {
      if (request.method() === "POST") cookie = (await request.allHeaders())["cookie"];
    });
    await page.goto(`http://${host}:${port()}/`);
    const answered = page.waitForResponse((response) => response.url().includes("/deposit"));
    await page.click("button");
    const response = await answered;
    assert.equal(response.status(), 403);
    assert.equal(cookie?.includes("tollgate_session") === true, host === "127.0.0.1");
    assert.match(await opened.text("main"), /not sent by the settings page itself/);
    assert.equal((await bench.site.shown("acme")).balance, 100);
    opened.faults.length = 0; // this page is asked elsewhere, on purpose
    await opened.close();
  });
}

test("the same form on the page itself goes through", async () => {
  const opened = await bench.inside();
  await opened.go("/settings/money?account=acme");
  await opened.page.fill("#amount", "7");
  await opened.press("button:text('Pay in')");
  assert.match(await opened.text(".notice"), /7 was paid in/);
  assert.equal((await bench.site.shown("acme")).balance, 107);
  await opened.close();
});

test("a script elsewhere neither posts nor reads", async () => {
  const opened = await bench.inside();
  const { page } = opened;
  body = "<p>elsewhere</p>";
  await opened.go("/settings/money?account=acme");
  const csrf = await page.locator("form[action*='/deposit'] [name=csrf]").inputValue();
  await page.goto(`http://127.0.0.1:${port()}/`);
  const tried = await page.evaluate(
    async ([url, csrf]) => {
      const path = `${url}/settings/money/deposit?account=acme`;
      const body = new URLSearchParams({ csrf: csrf ?? "", once: "other", amount: "7" });
      const options: RequestInit = { method: "POST", credentials: "include", body };
      const posted = await fetch(path, { ...options, mode: "no-cors" }).then(
        ({ type }) => type,
        () => "failed",
      );
      const read = await fetch(`${url}/settings/accounts`, { credentials: "include" }).then(
        () => "read",
        () => "failed",
      );
      return [posted, read];
    },
    [bench.site.url, csrf],
  );
  assert.equal(tried[1], "failed");
  assert.equal((await bench.site.shown("acme")).balance, 107);
  opened.faults.length = 0;
  await opened.close();
});

test("no page is shown within another", async () => {
  const opened = await bench.inside();
  const { page } = opened;
  body = `<iframe src="${bench.site.url}/settings/accounts"></iframe>`;
  await page.goto(`http://127.0.0.1:${port()}/`);
  await page.waitForLoadState("networkidle");
  const texts = await Promise.all(page.frames().map((frame) => frame.content().catch(() => "")));
  assert.equal(texts.some((text) => text.includes("New account")), false);
  opened.faults.length = 0;
  await opened.close();
});
