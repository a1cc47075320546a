// The decision: verdict, the answer as HTTP text, the trace, and how an allowed request ends.

import type { TraceStep } from "tollgate";
import type { Desk, Run } from "./desk.js";
import { announce, byId, copy, fill, h, type Child } from "./dom.js";
import { readFields } from "./fields.js";
import { dateTime, grouped, span, statusLine, text, withDistance } from "./format.js";
import type { FinishForm } from "./parse.js";

const WORDS = { allow: "Allow", deny: "Deny", replay: "Replay" } as const;
const SIGNS = { allow: "✓", deny: "✕", replay: "↺" } as const;

const RESULTS: Readonly<Record<TraceStep["result"], { sign: string; word: string }>> = {
  passed: { sign: "✓", word: "passed" },
  decided: { sign: "✕", word: "decided" },
  shadow: { sign: "◐", word: "shadow" },
  would_pass: { sign: "·", word: "would pass" },
  would_fail: { sign: "×", word: "would fail" },
};

const EMPTY_FINISH: FinishForm = {
  kind: "settle",
  amount: "",
  withResponse: true,
  status: "200",
  headers: "",
  body: "",
};

export class DecisionPanel {
  #desk: Desk;
  #run: Run | undefined;
  #finishForm = byId("finish-form", HTMLFormElement);

  constructor(desk: Desk, guard: (problem: HTMLElement, act: () => void) => Promise<void>) {
    this.#desk = desk;
    byId("copy-answer", HTMLButtonElement).addEventListener("click", (event) => {
      const from = event.currentTarget;
      if (this.#run === undefined || !(from instanceof HTMLElement)) return;
      void copy(answerText(this.#run), from);
    });
    this.#finishForm.addEventListener("submit", (event) => {
      event.preventDefault();
      const run = this.#run;
      if (run === undefined) return;
      void guard(byId("finish-problem", HTMLElement), () => {
        const form = readFields(this.#finishForm, EMPTY_FINISH);
        const holdsKey = run.decision.ticket?.holdsKey === true;
        this.#desk.finish(run, { ...form, withResponse: form.withResponse && holdsKey });
        this.#drawFinish(run);
        announce(endingText(run));
      });
    });
    this.#finishForm.addEventListener("change", () => this.#drawFields());
  }

  clear(): void {
    this.#run = undefined;
    byId("decision-body", HTMLElement).hidden = true;
    byId("decision-none", HTMLElement).hidden = false;
  }

  show(run: Run): void {
    this.#run = run;
    byId("decision-body", HTMLElement).hidden = false;
    byId("decision-none", HTMLElement).hidden = true;
    this.#drawVerdict(run);
    byId("answer", HTMLElement).textContent = answerText(run);
    const isAllowed = run.decision.verdict === "allow";
    byId("answer-title", HTMLElement).textContent = isAllowed
      ? "Headers for the upstream's answer"
      : "Answer to the client";
    this.#drawTrace(run);
    this.#drawFinish(run);
    announce(summary(run));
  }

  #drawVerdict(run: Run): void {
    const { decision } = run;
    const { verdict, status, code } = decision;
    const box = byId("verdict", HTMLElement);
    box.className = `verdict ${verdict}`;
    const wouldBe = run.kind === "explained" || run.form.peek;
    fill(
      box,
      h("span", { class: "sign", attrs: { "aria-hidden": "true" } }, SIGNS[verdict]),
      h("strong", {}, WORDS[verdict]),
      h("span", { class: "status" }, statusLine(status)),
      code !== undefined && h("code", {}, code),
      wouldBe && h("span", { class: "tag quiet" }, "nothing consumed"),
      why(run),
    );
    const retryAt = decision.retryAtMs;
    const facts: [string, Child][] = [
      ["request", `#${run.number} at ${dateTime(run.atMs)}`],
      ["account", decision.account],
      ["route", decision.route],
      ["reserved", decision.reserved === undefined ? undefined : grouped(decision.reserved)],
      ["retry", retryAt === undefined ? undefined : `in ${span(Math.ceil(retryAt - run.atMs))}`],
      ["store error", decision.storeError],
      ["shadow", shadows(run)],
    ];
    fill(
      byId("facts", HTMLElement),
      ...facts
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    );
  }

  #drawTrace(run: Run): void {
    fill(
      byId("trace", HTMLElement),
      ...run.steps.map((step) => {
        const { sign, word } = RESULTS[step.result];
        const replays = step.result === "decided" && run.decision.verdict === "replay";
        const says = replays ? "replays" : word;
        const kind = replays ? "replay" : step.result;
        const observed = h("span", { class: "observed" }, withDistance(step.observed, run.atMs));
        return h(
          "li",
          { class: `step ${kind}` },
          h("span", { class: "sign", attrs: { "aria-hidden": "true" } }, replays ? "↺" : sign),
          h(
            "div",
            { class: "head" },
            h("strong", {}, step.check.replaceAll("_", " ")),
            observed,
            h("span", { class: "result" }, says),
          ),
          h("div", { class: "rule" }, step.rule),
          step.fix !== null &&
            h("div", { class: "fix" }, h("b", {}, "To pass: "), withDistance(step.fix, run.atMs)),
        );
      }),
    );
  }

  #drawFinish(run: Run): void {
    const ending = run.ending;
    const isOpen = run.decision.ticket !== undefined;
    const isOver = ending !== undefined && ending.kind !== "unknown";
    byId("finish", HTMLElement).hidden = !isOpen;
    this.#finishForm.hidden = isOver;
    byId("finish-problem", HTMLElement).textContent = "";
    byId("finish-state", HTMLElement).textContent =
      ending === undefined ? "The upstream is at work; say how it ended." : endingText(run);
    this.#drawFields();
  }

  #drawFields(): void {
    const { kind, withResponse } = readFields(this.#finishForm, EMPTY_FINISH);
    const holdsKey = this.#run?.decision.ticket?.holdsKey === true;
    const reserved = this.#run?.decision.ticket?.reserved;
    const amount = byId("finish-amount", HTMLInputElement);
    amount.placeholder = reserved === undefined ? "" : `${reserved}`;
    byId("finish-amount-field", HTMLElement).hidden = kind !== "settle";
    const keepsResponse = holdsKey && kind !== "unknown";
    byId("finish-with", HTMLElement).hidden = !keepsResponse;
    byId("finish-response", HTMLElement).hidden = !keepsResponse || !withResponse;
    byId("finish-key", HTMLElement).hidden = holdsKey;
  }
}

/** The check that decided, in one line. */
function why(run: Run): HTMLElement | undefined {
  const step = run.steps.find(({ result }) => result === "decided");
  if (step === undefined || run.decision.verdict === "replay") return undefined;
  const fix = step.fix === null ? "" : ` To pass: ${withDistance(step.fix, run.atMs)}.`;
  return h("span", { class: "why" }, `${step.check.replaceAll("_", " ")}: ${step.observed}.${fix}`);
}

function shadows(run: Run): string | undefined {
  const { limits, spendCaps, networks } = run.decision.shadows;
  const found = [...limits.map((name) => `limit ${name}`)];
  if (spendCaps) found.push("spend caps");
  if (networks) found.push("networks");
  return found.length === 0 ? undefined : `would deny: ${found.join(", ")}`;
}

function summary(run: Run): string {
  const { verdict, status, code } = run.decision;
  const failed = run.steps.find((step) => step.result === "decided");
  const fix = failed?.fix == null ? "" : ` To pass: ${withDistance(failed.fix, run.atMs)}.`;
  const says = code === undefined ? "" : `, ${code}`;
  // With its number, because a text that stays the same is not read out again.
  return `${WORDS[verdict]}, ${statusLine(status)}${says}.${fix} Request ${run.number}.`;
}

function endingText(run: Run): string {
  const ending = run.ending;
  if (ending === undefined) return "";
  if (ending.kind === "unknown") {
    return "Unknown how it ended: the money stays held and the key in flight until the lease ends.";
  }
  const posted = ending.posted === undefined ? "" : `, ${grouped(ending.posted)} posted`;
  return ending.kind === "settle" ? `Settled${posted}.` : "Void: nothing was charged.";
}

function answerText(run: Run): string {
  const { verdict, status, headers, body } = run.decision;
  const lines = headers.map(([name, value]) => `${name}: ${value}`);
  if (verdict === "allow") return lines.length > 0 ? lines.join("\n") : "(none)";
  return [`HTTP/1.1 ${statusLine(status)}`, ...lines, "", text(body)].join("\n");
}
