// The policy: its text, what is wrong with it, and which one is in force.

import type { Desk, Problem } from "./desk.js";
import { announce, byId, button, fill, h } from "./dom.js";
import { Editor, type Mark } from "./editor.js";
import { isJson, locate } from "./locate.js";

const DEBOUNCE_MS = 250;

export class PolicyPanel {
  #desk: Desk;
  #editor: Editor;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #onFailure: (error: unknown) => void;
  #onEdit: () => void;
  #panel = byId("policy", HTMLElement);
  #quiet = false;

  constructor(desk: Desk, onEdit: () => void, onFailure: (error: unknown) => void) {
    this.#desk = desk;
    this.#onEdit = onEdit;
    this.#onFailure = onFailure;
    const host = byId("policy-editor", HTMLElement);
    this.#editor = new Editor(host, "Policy, TOML or JSON", () => this.#typed());
  }

  get text(): string {
    return this.#editor.text;
  }

  /** Shows this text and compiles it at once. */
  load(text: string): void {
    this.#quiet = true;
    this.#editor.text = text;
    this.#quiet = false;
    this.compile();
  }

  #typed(): void {
    if (this.#quiet) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.compile(), DEBOUNCE_MS);
    this.#panel.setAttribute("aria-busy", "true");
    this.#onEdit();
  }

  /** Compiles at once what was typed a moment ago. */
  flush(): void {
    if (this.#timer !== undefined) this.compile();
  }

  compile(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#panel.removeAttribute("aria-busy");
    try {
      const errors = this.#desk.compile(this.text);
      this.#show(errors, errors.length === 0 ? this.#desk.lint() : []);
    } catch (error) {
      this.#onFailure(error);
    }
  }

  #show(errors: readonly Problem[], warnings: readonly Problem[]): void {
    const all = [
      ...errors.map((problem) => ({ ...problem, severity: "error" as const })),
      ...warnings.map((problem) => ({ ...problem, severity: "warning" as const })),
    ];
    const text = this.text;
    const found = all.map((item) => ({ ...item, range: locate(text, item.place, item.line) }));
    const whole = { from: 0, to: 0 };
    this.#editor.mark(
      found.map(({ range, severity, message }): Mark => {
        return { ...(range ?? whole), severity, message };
      }),
    );
    fill(
      byId("problems", HTMLElement),
      ...found.map(({ place, message, severity, range }) => {
        const line = range === undefined ? undefined : this.#editor.lineOf(range.from);
        const where = line === undefined ? "" : `line ${line}`;
        const content = [
          h("span", { class: `tag ${severity}` }, severity),
          where !== "" && h("span", { class: "where" }, where),
          place !== "" && h("code", {}, place),
          h("span", { class: "what" }, message),
        ];
        if (range === undefined) return h("li", {}, h("div", { class: "problem" }, ...content));
        const jump = button("", () => this.#editor.goTo(range), { class: "problem" });
        jump.append(...content.filter((part) => part !== false));
        return h("li", {}, jump);
      }),
    );
    this.#showState(errors.length, warnings.length);
  }

  #showState(errors: number, warnings: number): void {
    const state = byId("policy-state", HTMLElement);
    const format = isJson(this.text) ? "JSON" : "TOML";
    const count = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
    if (errors === 0) {
      const also = warnings === 0 ? "" : `, ${count(warnings, "warning")}`;
      state.className = "state good";
      fill(state, h("span", {}, `In force (${format}${also})`));
      return;
    }
    state.className = "state bad";
    const last = this.#desk.policyText;
    const says =
      last === undefined
        ? `${count(errors, "error")}: no policy is in force`
        : `${count(errors, "error")}: the last good policy stays in force`;
    announce(says);
    const back = last !== undefined && button("Go back to it", () => this.load(last));
    fill(state, h("span", {}, says), back);
  }
}
