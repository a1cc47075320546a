// Scenarios: read, run at once or step by step, and told apart from what they expect.

import { Session } from "tollgate/scenario";
import { announce, byId, fill, h } from "./dom.js";
import { toJsonLines } from "./format.js";
import { FieldError } from "./parse.js";
import { differences, readScenarios, summary, type Scenario, type Step } from "./scenario-text.js";

interface Result {
  step: Step;
  reply: Step;
  found: string[];
}

interface Progress {
  text: string;
  scenarios: readonly Scenario[];
  /** The scenario that runs, and its next step. */
  at: number;
  next: number;
  session: Session;
  results: Result[][];
}

type Guard = (problem: HTMLElement, act: () => Promise<void>) => Promise<void>;

const MAX_SHOWN = 2_000;

export class ScenarioPanel {
  #text = byId("scenario-text", HTMLTextAreaElement);
  #problem = byId("scenario-problem", HTMLElement);
  #only = byId("scenario-only", HTMLInputElement);
  #progress: Progress | undefined;
  #busy = false;

  constructor(edited: () => void, guard: Guard) {
    const run = (act: () => Promise<void>) => () =>
      void guard(this.#problem, async () => {
        if (this.#busy) return;
        this.#busy = true;
        try {
          await act();
        } finally {
          this.#busy = false;
        }
      });
    byId("scenario-run", HTMLButtonElement).addEventListener("click", run(() => this.#runAll()));
    byId("scenario-step", HTMLButtonElement).addEventListener("click", run(() => this.#runOne()));
    this.#text.addEventListener("input", edited);
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(() => this.#runAll())();
    });
    this.#only.addEventListener("change", () => this.#draw());
    const file = byId("scenario-file", HTMLInputElement);
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      if (chosen === undefined) return;
      run(async () => {
        this.load(await chosen.text());
        file.value = "";
        edited();
      })();
    });
  }

  get text(): string {
    return this.#text.value;
  }

  load(text: string): void {
    this.#text.value = text;
    this.#progress = undefined;
    this.#problem.textContent = "";
    this.#draw();
  }

  #begin(): Progress {
    const scenarios = readScenarios(this.#text.value);
    const session = new Session();
    return { text: this.#text.value, scenarios, at: 0, next: 0, session, results: [] };
  }

  async #runAll(): Promise<void> {
    this.#progress = undefined;
    const progress = this.#begin();
    this.#progress = progress;
    let steps = 0;
    while (await this.#advance(progress)) {
      steps += 1;
      if (steps % 200 === 0) {
        byId("scenario-summary", HTMLElement).textContent = `${steps} steps so far…`;
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
    }
    this.#draw();
    announce(this.#summary(progress));
  }

  async #runOne(): Promise<void> {
    const current = this.#progress;
    const isOver = current === undefined || current.at >= current.scenarios.length;
    const progress = isOver || current.text !== this.#text.value ? this.#begin() : current;
    this.#progress = progress;
    if (!(await this.#advance(progress))) throw new FieldError("There is no step to run");
    this.#draw();
    announce(this.#summary(progress));
  }

  /** Performs the next step, if there is one. */
  async #advance(progress: Progress): Promise<boolean> {
    let scenario = progress.scenarios[progress.at];
    while (scenario !== undefined && scenario.steps.length === 0) {
      progress.at += 1;
      scenario = progress.scenarios[progress.at];
    }
    const step = scenario?.steps[progress.next];
    if (scenario === undefined || step === undefined) return false;
    const reply = await progress.session.step(step);
    const results = (progress.results[progress.at] ??= []);
    results.push({ step, reply, found: differences(step, reply) });
    progress.next += 1;
    if (progress.next < scenario.steps.length) return true;
    progress.at += 1;
    progress.next = 0;
    progress.session = new Session();
    return true;
  }

  #summary(progress: Progress): string {
    const all = progress.results.flat();
    const failed = all.filter(({ found }) => found.length > 0).length;
    const total = progress.scenarios.reduce((sum, { steps }) => sum + steps.length, 0);
    const left = total - all.length;
    const rest = left === 0 ? "" : `, ${left} to go`;
    const end = failed === 0 ? "all as expected" : `${failed} not as expected`;
    return `${all.length} of ${total} steps: ${end}${rest}`;
  }

  #draw(): void {
    const progress = this.#progress;
    const box = byId("scenario-results", HTMLElement);
    const says = byId("scenario-summary", HTMLElement);
    byId("scenario-tools", HTMLElement).hidden = progress === undefined;
    if (progress === undefined) {
      says.textContent = "";
      return fill(box);
    }
    const hasFailed = progress.results.flat().some(({ found }) => found.length > 0);
    says.textContent = this.#summary(progress);
    says.className = hasFailed ? "state bad" : "state good";
    let shown = 0;
    const groups = progress.scenarios.map((scenario, index) => {
      const results = progress.results[index] ?? [];
      const isBad = results.some(({ found }) => found.length > 0);
      if (results.length === 0 || (this.#only.checked && !isBad)) return null;
      shown += results.length;
      if (shown > MAX_SHOWN && !isBad) return null;
      const isOnly = progress.scenarios.length === 1;
      return group(scenario, results, isBad || isOnly, this.#only.checked);
    });
    const cut = h("p", { class: "none" }, "Later ones that passed are left out.");
    fill(box, ...groups, shown > MAX_SHOWN && cut);
  }
}

function group(scenario: Scenario, results: Result[], open: boolean, only: boolean): HTMLElement {
  const failed = results.filter(({ found }) => found.length > 0).length;
  const isBad = failed > 0;
  const shown = only ? results.filter(({ found }) => found.length > 0) : results;
  const details = h(
    "details",
    { class: `scenario ${isBad ? "bad" : "good"}` },
    h(
      "summary",
      {},
      h("span", { class: `tag ${isBad ? "error" : "pass"}` }, isBad ? "✕ fail" : "✓ pass"),
      h("span", { class: "name" }, scenario.name),
      h("span", { class: "count" }, `${results.length} of ${scenario.steps.length} steps`),
    ),
    h("ol", { class: "results" }, ...shown.map((result) => item(result, results.indexOf(result)))),
  );
  details.open = open;
  return details;
}

function item({ step, reply, found }: Result, index: number): HTMLElement {
  const isBad = found.length > 0;
  const verdict = typeof reply["verdict"] === "string" ? reply["verdict"] : "";
  const code = reply["code"] ?? reply["status"] ?? reply["error"] ?? "";
  const note = step["note"];
  const details = h(
    "details",
    { class: isBad ? "bad" : "good" },
    h(
      "summary",
      {},
      h("span", { class: "num" }, String(index + 1)),
      h("span", { class: `tag ${isBad ? "error" : "pass"}` }, isBad ? "✕ fail" : "✓ pass"),
      h("b", {}, String(step["op"] ?? "?")),
      h("span", { class: "what" }, summary(step)),
      verdict !== "" && h("span", { class: `word ${verdict}` }, verdict),
      code !== "" && code !== 200 && h("span", { class: "code" }, String(code)),
    ),
    isBad && h("ul", { class: "diff" }, ...found.map((what) => h("li", {}, what))),
    typeof note === "string" && h("p", { class: "notes" }, note),
    h("div", { class: "pair" }, block("Step", step), block("Reply", reply)),
  );
  details.open = isBad;
  return h("li", {}, details);
}

function block(title: string, value: Step): HTMLElement {
  const code = h("pre", { attrs: { tabindex: "0", "aria-label": title } }, toJsonLines(value));
  return h("figure", {}, h("figcaption", {}, title), code);
}
