// The page in headless Chromium, with everything noted that it should not do.

import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { serve, type Server } from "./serve.js";

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
export const PHONE: Screen = { width: 360, height: 740, scheme: "light" };

export class Bench {
  readonly #server: Server;
  readonly #browser: Browser;

  private constructor(server: Server, browser: Browser) {
    this.#server = server;
    this.#browser = browser;
  }

  static async start(): Promise<Bench> {
    const server = await serve(new URL("../../../../target/playground", import.meta.url).pathname);
    const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
    const browser = await chromium.launch({ executablePath, args: FLAGS });
    return new Bench(server, browser);
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    await this.#server.close();
  }

  async open(screen: Screen = DESKTOP, fragment = ""): Promise<Opened> {
    const opened = await this.openWith(() => Promise.resolve(), screen, fragment);
    await opened.page.waitForSelector("#app:not([hidden])");
    return opened;
  }

  /** Prepares the page before it loads, and does not wait for the engine. */
  async openWith(
    prepare: (page: Page) => Promise<void>,
    screen: Screen = DESKTOP,
    fragment = "",
  ): Promise<Opened> {
    const { width, height, scheme } = screen;
    const context = await this.#browser.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      reducedMotion: "reduce",
    });
    context.setDefaultTimeout(10_000);
    const opened = new Opened(context, await context.newPage(), this.#server.url);
    await prepare(opened.page);
    await opened.page.goto(`${this.#server.url}${fragment}`);
    return opened;
  }
}

export class Opened {
  readonly page: Page;
  readonly url: string;
  /** Errors in the console, exceptions, violations of the policy, requests to anywhere else. */
  readonly faults: string[] = [];
  /** Everything that was asked for, by its path below the page. */
  readonly asked: string[] = [];
  readonly #context: BrowserContext;

  constructor(context: BrowserContext, page: Page, url: string) {
    this.#context = context;
    this.page = page;
    this.url = url;
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.faults.push(message.text());
    });
    page.on("pageerror", (error) => this.faults.push(`uncaught: ${error.message}`));
    page.on("requestfailed", (request) => this.faults.push(`failed: ${request.url()}`));
    page.on("request", (request) => {
      const target = request.url();
      if (target.startsWith("data:")) return;
      if (target.startsWith(url)) this.asked.push(target.slice(url.length));
      else this.faults.push(`asked elsewhere: ${target}`);
    });
  }

  async close(): Promise<void> {
    await this.#context.close();
  }

  async text(selector: string): Promise<string> {
    return (await this.page.locator(selector).innerText()).trim();
  }

  /** Waits until the draft holds this text. */
  async draft(text: string): Promise<void> {
    await this.page.waitForFunction(
      (wanted) => Object.values(localStorage).some((kept) => String(kept).includes(wanted)),
      text,
    );
  }

  async send(): Promise<string> {
    await this.page.click("#send");
    return this.text("#verdict");
  }

  /** Puts this text into the policy editor, and waits until it is compiled. */
  async policy(text: string): Promise<void> {
    await this.page.locator(".cm-content").click();
    await this.page.keyboard.press("Control+a");
    await this.page.locator(".cm-content").evaluate((element, pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData("text/plain", pasted);
      const options = { clipboardData, bubbles: true, cancelable: true };
      element.dispatchEvent(new ClipboardEvent("paste", options));
    }, text);
    await this.page.waitForSelector("#policy:not([aria-busy])", { state: "attached" });
  }
}
