// The burst: its form, two charts with a table behind each, and the sums.

import { runBurst, type Bucket, type Burst } from "./burst.js";
import { draw, type Chart } from "./chart.js";
import type { Desk } from "./desk.js";
import { announce, byId, fill, h } from "./dom.js";
import { readFields, writeFields } from "./fields.js";
import { grouped, span } from "./format.js";
import { DEFAULT_BURST, type BurstForm, type RequestForm } from "./model.js";

type Guard = (problem: HTMLElement, act: () => Promise<void>) => Promise<void>;

const HEIGHT = 190;
const HEIGHT_WITH_BARS = 260;
const NARROWEST = 260;

export class BurstPanel {
  #form = byId("burst-form", HTMLFormElement);
  #result: Burst | undefined;
  #busy = false;

  constructor(desk: Desk, request: () => RequestForm, edited: () => void, guard: Guard) {
    this.#form.addEventListener("input", edited);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void guard(byId("burst-problem", HTMLElement), () => this.#run(desk, request()));
    });
    new ResizeObserver(() => this.#drawCharts()).observe(byId("burst-results", HTMLElement));
  }

  get form(): BurstForm {
    return readFields(this.#form, DEFAULT_BURST);
  }

  load(form: BurstForm): void {
    writeFields(this.#form, form);
    this.clear();
  }

  clear(): void {
    this.#result = undefined;
    byId("burst-results", HTMLElement).hidden = true;
  }

  async #run(desk: Desk, request: RequestForm): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const progress = byId("burst-progress", HTMLElement);
    try {
      const { engine, accounts, tokens, clockMs: startMs } = desk;
      const setup = { engine, accounts, tokens, request, burst: this.form, startMs };
      this.#result = await runBurst(setup, (done) => {
        progress.textContent = `${grouped(done)} requests so far…`;
      });
    } finally {
      this.#busy = false;
      progress.textContent = "";
    }
    this.#draw(this.#result, request);
  }

  #draw(result: Burst, request: RequestForm): void {
    byId("burst-results", HTMLElement).hidden = false;
    const denied = [...result.denied].map(([code, count]) => `${grouped(count)} ${code}`);
    const first = result.firstDenialMs;
    const facts: [string, string, string][] = [
      ["sent", grouped(result.sent), ""],
      ["allowed", grouped(result.allowed), "allow"],
      ["denied", denied.length === 0 ? "0" : denied.join(", "), denied.length === 0 ? "" : "deny"],
      ["first denial", first === undefined ? "none" : `after ${span(first)}`, ""],
      ["posted", grouped(result.posted), ""],
    ];
    if (result.late > 0) facts.push(["not sent, clients busy", grouped(result.late), ""]);
    fill(
      byId("burst-facts", HTMLElement),
      ...facts.map(([name, value, kind]) =>
        h("div", {}, h("dt", {}, name), h("dd", { class: kind }, value)),
      ),
    );
    const route = `${request.method} ${request.target}`;
    byId("burst-of", HTMLElement).textContent =
      `${route}, ${request.token === "" ? "without a token" : `token ${request.token}`}`;
    this.#drawTables(result);
    this.#drawCharts();
    announce(`${result.allowed} of ${result.sent} requests were allowed`);
  }

  #drawTables(result: Burst): void {
    fill(
      byId("limit-table", HTMLElement),
      ...table(result, ["allowed", "denied", "remaining"]),
    );
    fill(byId("wallet-table", HTMLElement), ...table(result, ["balance", "held", "available"]));
  }

  #drawCharts(): void {
    const result = this.#result;
    if (result === undefined) return;
    const box = byId("limit-chart", HTMLElement);
    const width = Math.max(NARROWEST, box.clientWidth);
    const pick = (key: keyof Bucket) => result.buckets.map((bucket) => Number(bucket[key] ?? 0));
    const remaining = result.buckets.map((bucket) => bucket.remaining);
    const common = {
      count: result.buckets.length,
      xMax: (result.widthMs * result.buckets.length) / 1000,
      unit: "s",
    };
    const limits: Chart = {
      ...common,
      title: `Limit over time: ${result.allowed} allowed, ${result.sent - result.allowed} denied`,
      lines: [{ name: "remaining", kind: "remaining", values: remaining }],
      bars: [
        { name: "allowed", kind: "allowed", values: pick("allowed") },
        { name: "denied", kind: "denied", values: pick("denied") },
      ],
    };
    fill(box, draw(limits, width, HEIGHT_WITH_BARS));
    const wallet: Chart = {
      ...common,
      title: `Wallet over time: ${result.posted} posted`,
      lines: [
        { name: "balance", kind: "balance", values: pick("balance") },
        { name: "available", kind: "available", values: pick("available") },
        { name: "held", kind: "held", values: pick("held") },
      ],
      bars: [],
    };
    const hasMoney = result.buckets.some(({ balance = 0n }) => balance > 0n);
    byId("wallet", HTMLElement).hidden = !hasMoney && result.posted === 0n;
    byId("stretch", HTMLElement).textContent = span(result.widthMs);
    byId("no-remaining", HTMLElement).hidden = result.limit !== undefined;
    fill(byId("wallet-chart", HTMLElement), draw(wallet, width, HEIGHT));
  }
}

function table(result: Burst, columns: readonly (keyof Bucket)[]): HTMLElement[] {
  const head = ["until", ...columns].map((name) => h("th", { attrs: { scope: "col" } }, name));
  const rows = result.buckets.map((bucket) => {
    const cells = columns.map((name) => {
      const value = bucket[name];
      return h("td", { class: "num" }, value === undefined ? "–" : grouped(value));
    });
    const until = `${bucket.endMs / 1000} s`;
    return h("tr", {}, h("th", { class: "num", attrs: { scope: "row" } }, until), ...cells);
  });
  return [h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)];
}
