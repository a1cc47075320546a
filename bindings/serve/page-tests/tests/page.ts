// The settings page in headless Chromium, with everything noted that it should not do.

import assert from "node:assert/strict";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { OPERATOR, Site } from "./site.js";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Screen {
  width: number;
  height: number;
  scheme: "light" | "dark";
}

export const DESKTOP: Screen = { width: 1280, height: 800, scheme: "light" };
export const PHONE: Screen = { width: 390, height: 844, scheme: "light" };

type Cookies = Awaited<ReturnType<BrowserContext["cookies"]>>;

export class Bench {
  readonly site: Site;
  readonly #browser: Browser;
  #session: Cookies | undefined;

  private constructor(site: Site, browser: Browser) {
    this.site = site;
    this.#browser = browser;
  }

  static async start(): Promise<Bench> {
    const site = await Site.start();
    const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    const browser = await chromium.launch({ executablePath, args: FLAGS });
    return new Bench(site, browser);
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    await this.site.stop();
  }

  /** A browser that nobody has logged in with. */
  async open(screen: Screen = DESKTOP, javaScriptEnabled = true): Promise<Opened> {
    const { width, height, scheme } = screen;
    const context = await this.#browser.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      reducedMotion: "reduce",
      javaScriptEnabled,
    });
    context.setDefaultTimeout(10_000);
    return new Opened(context, await context.newPage(), this.site.url);
  }

  /** The same, logged in: there is one session for all, because attempts are limited. */
  async inside(screen: Screen = DESKTOP): Promise<Opened> {
    const opened = await this.open(screen);
    if (this.#session === undefined) {
      await opened.logIn();
      this.#session = await opened.page.context().cookies();
    } else {
      await opened.page.context().addCookies(this.#session);
    }
    return opened;
  }
}

export class Opened {
  readonly page: Page;
  /** Errors in the console, exceptions, violations of the policy, requests to anywhere else. */
  readonly faults: string[] = [];
  readonly #context: BrowserContext;
  readonly #url: string;

  constructor(context: BrowserContext, page: Page, url: string) {
    this.#context = context;
    this.#url = url;
    this.page = page;
    page.on("console", (message) => {
      // A refusal is shown as a page, and is no fault of it.
      const isRefusal = /the server responded with a status of 4\d\d/.test(message.text());
      const isFault = ["error", "warning"].includes(message.type());
      if (isFault && !isRefusal) this.faults.push(message.text());
    });
    page.on("pageerror", (error) => this.faults.push(`uncaught: ${error.message}`));
    page.on("request", (request) => {
      const target = request.url();
      if (!target.startsWith("data:") && !target.startsWith(url)) this.faults.push(`asked ${target}`);
    });
  }

  /** Nothing was done that should not be. */
  async close(): Promise<void> {
    await this.#context.close();
    assert.deepEqual(this.faults, []);
  }

  async go(path: string): Promise<void> {
    await this.page.goto(this.#url + path);
  }

  async logIn(): Promise<void> {
    await this.go("/settings");
    await this.page.fill("#token", OPERATOR);
    await this.page.click("main button");
    await this.page.waitForURL("**/settings/accounts");
  }

  /** Clicks on what leads to another page, and waits for that. */
  async press(selector: string): Promise<void> {
    const loaded = this.page.waitForEvent("load");
    await this.page.click(selector);
    await loaded;
  }

  async text(selector: string): Promise<string> {
    return (await this.page.locator(selector).first().innerText()).trim();
  }
}
