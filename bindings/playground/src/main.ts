// The page: starts the engine, joins the panels, keeps drafts and links.

import { TollgateError, init, version } from "tollgate";
import { BurstPanel } from "./burst-panel.js";
import { startClock } from "./clock.js";
import { DecisionPanel } from "./decision-panel.js";
import { Desk, explain, isExpected, type Run } from "./desk.js";
import { announce, byId, button, copy, fill, h } from "./dom.js";
import { EXAMPLES, FIRST, type Example } from "./examples.js";
import { toJson } from "./format.js";
import { closesByItself } from "./menu.js";
import { readPage, type Page } from "./model.js";
import { PolicyPanel } from "./policy-panel.js";
import { RequestPanel } from "./request-panel.js";
import { ScenarioPanel } from "./scenario-panel.js";
import * as share from "./share.js";
import { StatePanel } from "./state-panel.js";
import { Tabs } from "./tabs.js";

const DRAFT_DELAY_MS = 600;

/** Says what has gone wrong for good, above everything. */
function fail(error: unknown): void {
  const box = byId("failure", HTMLElement);
  const trapped = error instanceof WebAssembly.RuntimeError || error instanceof TollgateError;
  const what = trapped ? "The engine stopped where it never should" : "The page failed";
  const draft = share.wantsDraft() ? " What you typed is kept as a draft." : "";
  const says = `${what}: ${explain(error)}. Reload the page to start again.${draft}`;
  box.hidden = false;
  fill(box, h("p", {}, says), button("Reload", () => location.reload()));
  console.error(error);
}

/** Runs what may fail: an expected error is told where it happened, any other above everything. */
async function guard(problem: HTMLElement, act: () => Promise<void> | void): Promise<void> {
  problem.textContent = "";
  try {
    await act();
  } catch (error) {
    if (!isExpected(error)) return fail(error);
    problem.textContent = explain(error);
    announce(explain(error));
  }
}

class App {
  #desk = new Desk();
  #tabs = new Tabs();
  #policy: PolicyPanel;
  #request: RequestPanel;
  #decision: DecisionPanel;
  #scenario: ScenarioPanel;
  #burst: BurstPanel;
  #draftTimer: ReturnType<typeof setTimeout> | undefined;
  #keepsDraft = byId("keep-draft", HTMLInputElement);
  #undo: Page | undefined;

  constructor() {
    const desk = this.#desk;
    const edited = () => this.#edited();
    this.#policy = new PolicyPanel(desk, edited, fail);
    new StatePanel(desk, {
      guard,
      useToken: (token) => {
        this.#tabs.choose("request");
        this.#request.useToken(token);
      },
    });
    this.#decision = new DecisionPanel(desk, guard);
    this.#request = new RequestPanel(desk, {
      act: (kind) => void this.#act(kind),
      show: (run) => this.#show(run),
      edited,
    });
    this.#scenario = new ScenarioPanel(edited, guard);
    this.#burst = new BurstPanel(desk, () => this.#request.form, edited, async (problem, act) => {
      this.#policy.flush();
      await guard(problem, act);
    });
    startClock(desk, guard);
    desk.onChange(edited);
    desk.onSetUp = (failed) => {
      byId("state-problem", HTMLElement).textContent = failed.join("; ");
    };
    this.#bindKeys();
    this.#bindMenu();
    this.#bindShare();
  }

  /** Shows a page, with a fresh store. */
  async load(page: Page): Promise<void> {
    const desk = this.#desk;
    desk.clockMs = page.clockMs;
    this.#policy.load(page.policy);
    await desk.ready;
    await desk.startOver(page.accounts, page.tokens);
    this.#request.load(page.request);
    this.#request.mark(undefined);
    this.#decision.clear();
    this.#scenario.load(page.scenario);
    this.#burst.load(page.burst);
    for (const form of document.querySelectorAll<HTMLDetailsElement>(".add")) form.open = false;
    byId("left", HTMLElement).scrollTop = 0;
  }

  get page(): Page {
    return {
      policy: this.#policy.text,
      accounts: this.#desk.accounts,
      tokens: this.#desk.tokens,
      request: this.#request.form,
      scenario: this.#scenario.text,
      burst: this.#burst.form,
      clockMs: this.#desk.clockMs,
    };
  }

  async #act(kind: Run["kind"]): Promise<void> {
    await guard(byId("request-problem", HTMLElement), async () => {
      this.#policy.flush();
      await this.#desk.ready;
      const run = this.#desk.run(this.#request.form, kind);
      this.#show(run);
    });
  }

  #show(run: Run): void {
    this.#request.mark(run);
    this.#decision.show(run);
    const isNarrow = !matchMedia("(min-width: 1000px)").matches;
    if (isNarrow) byId("decision", HTMLElement).scrollIntoView({ block: "start" });
  }

  #edited(): void {
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#keep(), DRAFT_DELAY_MS);
  }

  #keep(): void {
    if (this.#keepsDraft.checked) share.keepDraft(this.page);
  }

  #bindKeys(): void {
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      const { target } = event;
      if (target instanceof Element && target.closest("#scenario, #burst") !== null) return;
      event.preventDefault();
      this.#tabs.choose("request");
      void this.#act("sent");
    });
    byId("burst-form", HTMLFormElement).addEventListener("keydown", (event) => {
      const isSend = event.key === "Enter" && (event.ctrlKey || event.metaKey);
      if (isSend) byId("burst-form", HTMLFormElement).requestSubmit();
    });
  }

  #bindMenu(): void {
    const menu = byId("examples", HTMLDetailsElement);
    closesByItself(menu);
    const load = (example: Example): void => {
      menu.open = false;
      menu.querySelector("summary")?.focus();
      const before = structuredClone(this.page);
      void guard(byId("request-problem", HTMLElement), async () => {
        await this.load(example.page());
        this.notice(`Loaded the example “${example.name}”.`, before);
      });
    };
    const buttons = EXAMPLES.map((example) => button(example.name, () => load(example)));
    byId("example-list", HTMLElement).append(...buttons);
    byId("start-over", HTMLButtonElement).addEventListener("click", () => {
      void guard(byId("state-problem", HTMLElement), async () => {
        const { accounts, tokens } = this.#desk;
        await this.#desk.startOver([...accounts], [...tokens]);
        this.#request.mark(undefined);
        this.#decision.clear();
        this.notice("Balances, counters, keys and revocations are as at the beginning.", undefined);
      });
    });
    byId("as-scenario", HTMLButtonElement).addEventListener("click", () => {
      const lines = this.#desk.steps.map((step) => toJson(scenarioStep(step)));
      this.#scenario.load(`${lines.join("\n")}\n`);
      this.#tabs.choose("scenario");
      byId("scenario-run", HTMLButtonElement).focus();
      this.#edited();
    });
    this.#keepsDraft.checked = share.wantsDraft();
    this.#keepsDraft.addEventListener("change", () => {
      if (this.#keepsDraft.checked) this.#keep();
      else share.forgetDraft();
    });
  }

  /** Says what was loaded, and offers what was there before. */
  notice(text: string, before: Page | undefined): void {
    this.#undo = before;
    const box = byId("notice", HTMLElement);
    const close = () => {
      box.hidden = true;
    };
    const undo = () => {
      close();
      if (this.#undo !== undefined) void this.load(this.#undo).catch(fail);
    };
    box.hidden = false;
    const back = before !== undefined && button("Undo", undo);
    fill(box, h("span", {}, text), back, button("Close", close));
    announce(text);
  }

  #bindShare(): void {
    const dialog = byId("share", HTMLDialogElement);
    const link = byId("share-link", HTMLInputElement);
    byId("open-share", HTMLButtonElement).addEventListener("click", () => {
      void share
        .toFragment(this.page)
        .then((fragment) => {
          link.value = `${location.href.replace(/#.*$/, "")}${fragment}`;
          dialog.showModal();
        })
        .catch(fail);
    });
    const copyLink = byId("copy-link", HTMLButtonElement);
    copyLink.addEventListener("click", () => {
      void copy(link.value, copyLink).then((copied) => {
        if (!copied) link.select();
      });
    });
  }
}

/** Members of a request that a step has in another shape, or not at all. */
function scenarioStep(step: object): object {
  const kept = Object.entries(step).filter(([, value]) => value !== undefined && value !== false);
  return Object.fromEntries(kept);
}

async function start(): Promise<void> {
  const wasm = await fetch(new URL("tollgate.wasm", import.meta.url));
  if (!wasm.ok) throw new Error(`tollgate.wasm could not be loaded (${wasm.status})`);
  await init(await wasm.arrayBuffer());
  byId("version", HTMLElement).textContent = version();
  const app = new App();
  const first = FIRST.page();
  const draft = share.readDraft();
  const kept = draft === undefined ? undefined : readPage(draft, first);
  await app.load(kept ?? first);
  await openLink(app, kept);
  addEventListener("hashchange", () => void openLink(app, app.page).catch(fail));
  byId("loading", HTMLElement).hidden = true;
  byId("app", HTMLElement).hidden = false;
}

/** Shows what the link carries; a link that cannot be read changes nothing. */
async function openLink(app: App, before: Page | undefined): Promise<void> {
  const fragment = location.hash;
  if (fragment === "") return;
  const undo = before === undefined ? undefined : structuredClone(before);
  try {
    const carried = await share.fromFragment(fragment);
    if (carried === undefined) return;
    // The draft follows from now on; the address would show what is no longer there.
    history.replaceState(null, "", location.pathname + location.search);
    await app.load(readPage(carried, FIRST.page()));
    app.notice("Loaded from a link.", undo);
  } catch (error) {
    app.notice(`The link cannot be read: ${explain(error)}`, undefined);
  }
}

addEventListener("unhandledrejection", (event) => fail(event.reason));
start().catch((error: unknown) => {
  byId("loading", HTMLElement).hidden = true;
  fail(error);
});
