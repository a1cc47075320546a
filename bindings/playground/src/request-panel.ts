// The request: its form, sending and explaining it, and what was sent before.

import type { Desk, Run } from "./desk.js";
import { byId, button, fill, h } from "./dom.js";
import { readFields, writeFields } from "./fields.js";
import { timeOfDay } from "./format.js";
import { EMPTY_REQUEST, type RequestForm } from "./model.js";

const OTHER = "\u0000other";

export interface RequestHooks {
  act: (kind: Run["kind"]) => void;
  show: (run: Run) => void;
  edited: () => void;
}

export class RequestPanel {
  #desk: Desk;
  #hooks: RequestHooks;
  #form = byId("request-form", HTMLFormElement);
  #choice = byId("token-choice", HTMLSelectElement);
  #token = byId("token-text", HTMLInputElement);
  #tokenRow = byId("token-other", HTMLElement);
  #shown: Run | undefined;

  constructor(desk: Desk, hooks: RequestHooks) {
    this.#desk = desk;
    this.#hooks = hooks;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      hooks.act("sent");
    });
    byId("explain", HTMLButtonElement).addEventListener("click", () => hooks.act("explained"));
    byId("new-key", HTMLButtonElement).addEventListener("click", () => {
      writeFields(this.#form, { key: `key-${Math.random().toString(36).slice(2, 10)}` });
      hooks.edited();
    });
    this.#choice.addEventListener("change", () => this.#chosen());
    this.#form.addEventListener("input", () => hooks.edited());
    desk.onChange(() => this.#draw());
  }

  get form(): RequestForm {
    return readFields(this.#form, EMPTY_REQUEST);
  }

  load(form: RequestForm): void {
    writeFields(this.#form, form);
    this.#drawTokens();
    this.#openFilled(form);
  }

  useToken(token: string): void {
    this.#token.value = token;
    this.#drawTokens();
    this.#hooks.edited();
    this.#choice.focus();
  }

  /** Marks the run whose decision is shown. */
  mark(run: Run | undefined): void {
    this.#shown = run;
    this.#drawRuns();
  }

  focus(): void {
    this.#form.querySelector<HTMLElement>("[name=target]")?.focus();
  }

  #openFilled(form: RequestForm): void {
    const hasMore = [form.headers, form.cost, form.sender, form.invalid].some((v) => v !== "");
    if (hasMore) byId("request-more", HTMLDetailsElement).open = true;
  }

  #chosen(): void {
    if (this.#choice.value !== OTHER) this.#token.value = this.#choice.value;
    else this.#token.value = "";
    this.#tokenRow.hidden = this.#choice.value !== OTHER;
    if (this.#choice.value === OTHER) this.#token.focus();
    this.#hooks.edited();
  }

  #draw(): void {
    this.#drawTokens();
    this.#drawRuns();
    const routes = this.#desk.routes.map((route) => route.replace(/^\S+ /, ""));
    const paths = [...new Set(routes)];
    fill(
      byId("targets", HTMLElement),
      ...paths.map((path) => h("option", { attrs: { value: path } })),
    );
  }

  #drawTokens(): void {
    const current = this.#token.value;
    const tokens = this.#desk.tokens;
    const isKnown = current === "" || tokens.some(({ token }) => token === current);
    const isOther = !isKnown || (this.#choice.value === OTHER && !this.#tokenRow.hidden);
    const options = tokens.map(({ token, account, scopes }) => {
      const revoked = this.#desk.revoked.has(token) ? ", revoked" : "";
      const says = `${token} (${account}: ${scopes || "no scope"}${revoked})`;
      return h("option", { attrs: { value: token } }, says);
    });
    fill(
      this.#choice,
      ...options,
      h("option", { attrs: { value: "" } }, "no token"),
      h("option", { attrs: { value: OTHER } }, "another text…"),
    );
    this.#choice.value = isOther && current !== "" && isKnown ? current : isOther ? OTHER : current;
    this.#tokenRow.hidden = this.#choice.value !== OTHER;
  }

  #drawRuns(): void {
    const runs = this.#desk.runs;
    byId("history", HTMLElement).hidden = runs.length === 0;
    const focused = document.activeElement?.id ?? "";
    fill(byId("runs", HTMLElement), ...runs.map((run) => this.#run(run)));
    if (focused.startsWith("run-")) document.getElementById(focused)?.focus();
  }

  #run(run: Run): HTMLElement {
    const { decision, form, ending } = run;
    const load = () => {
      this.load(form);
      this.#hooks.show(run);
      this.#hooks.edited();
    };
    const isShown = run === this.#shown;
    const ended = ending === undefined ? openEnd(run) : ending.kind;
    const verdict = run.kind === "sent" && !form.peek ? decision.verdict : `(${decision.verdict})`;
    const name = button(`${form.method} ${form.target}`, load, {
      class: "link",
      attrs: { id: `run-${run.number}`, "aria-current": isShown ? "true" : undefined },
    });
    const status = decision.code ?? String(decision.status);
    return h(
      "tr",
      { class: isShown ? "shown" : "" },
      h("td", { class: "num" }, String(run.number)),
      h("td", { class: "time" }, timeOfDay(run.atMs)),
      h("td", { class: "grow" }, name),
      h("td", {}, h("span", { class: `word ${decision.verdict}` }, verdict)),
      h("td", { class: "grow" }, status),
      h("td", {}, ended),
    );
  }
}

function openEnd(run: Run): string {
  if (run.kind === "explained") return "explained";
  if (run.form.peek) return "peek";
  return run.decision.ticket === undefined ? "" : "running";
}
