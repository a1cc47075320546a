// Accounts and tokens: what there is, and forms to add, change, pay in and revoke.

import { generateToken } from "tollgate";
import type { Desk } from "./desk.js";
import { byId, button, fill, h, type Child } from "./dom.js";
import { readFields, writeFields } from "./fields.js";
import { grouped } from "./format.js";
import { EMPTY_ACCOUNT, EMPTY_TOKEN, type AccountForm, type TokenForm } from "./model.js";
import { FieldError, list } from "./parse.js";

export interface StateHooks {
  /** Runs something that may fail, and shows the failure there. */
  guard: (problem: HTMLElement, act: () => Promise<void> | void) => Promise<void>;
  useToken: (token: string) => void;
}

export class StatePanel {
  #desk: Desk;
  #hooks: StateHooks;
  #accountForm = byId("account-form", HTMLFormElement);
  #tokenForm = byId("token-form", HTMLFormElement);
  #problem = byId("state-problem", HTMLElement);
  #drawn = 0;

  constructor(desk: Desk, hooks: StateHooks) {
    this.#desk = desk;
    this.#hooks = hooks;
    this.#onSubmit(this.#accountForm, EMPTY_ACCOUNT, "account-problem", (form) =>
      desk.putAccount(form),
    );
    this.#onSubmit(this.#tokenForm, EMPTY_TOKEN, "token-problem", (form) => desk.putToken(form));
    byId("make-token", HTMLButtonElement).addEventListener("click", () => {
      writeFields(this.#tokenForm, { token: generateToken() });
    });
    desk.onChange(() => void this.#draw());
  }

  #onSubmit<T extends object>(
    form: HTMLFormElement,
    empty: T,
    problemId: string,
    act: (values: T) => Promise<void>,
  ): void {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const values = readFields(form, empty);
      void this.#hooks.guard(byId(problemId, HTMLElement), async () => {
        await act(values);
        writeFields(form, empty);
        const details = form.closest("details");
        if (details === null) return;
        details.open = false;
        details.querySelector("summary")?.focus();
      });
    });
  }

  async #draw(): Promise<void> {
    this.#drawn += 1;
    const drawing = this.#drawn;
    const focus = focusedRow();
    const rows = await Promise.all(this.#desk.accounts.map((account) => this.#account(account)));
    // Another change may have come while the store was asked.
    if (drawing !== this.#drawn) return;
    const none = (columns: string, words: string) =>
      h("tr", {}, h("td", { class: "none", attrs: { colspan: columns } }, words));
    const noAccount = none("6", "No account yet.");
    fill(byId("accounts", HTMLElement), ...(rows.length > 0 ? rows.flat() : [noAccount]));
    const tokens = this.#desk.tokens.map((token) => this.#token(token));
    const noToken = none("3", "No token yet.");
    fill(byId("tokens", HTMLElement), ...(tokens.length > 0 ? tokens : [noToken]));
    this.#drawChoices();
    if (focus !== undefined) document.getElementById(focus)?.focus();
  }

  async #account(account: AccountForm): Promise<HTMLElement[]> {
    const { id } = account;
    const cells = await this.#balances(id);
    const notes = [
      account.networks !== "" && `from ${list(account.networks).join(", ")}`,
      account.spendCaps !== "" && `caps ${account.spendCaps}`,
      account.senders !== "" && `senders ${account.senders}`,
    ].filter((note) => note !== false);
    const amount = h("input", {
      class: "short",
      attrs: {
        id: `deposit-amount-${id}`,
        inputmode: "numeric",
        placeholder: "amount",
        autocomplete: "off",
        "aria-label": `Amount to deposit to ${id}`,
      },
    });
    const deposit = h(
      "form",
      { class: "inline" },
      amount,
      h("button", { attrs: { id: `deposit-${id}`, "aria-label": `Deposit to ${id}` } }, "Deposit"),
    );
    deposit.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#hooks.guard(this.#problem, () => this.#desk.deposit(id, amount.value));
    });
    const edit = button("Edit", () => this.#edit(this.#accountForm, account), {
      attrs: { id: `edit-account-${id}`, "aria-label": `Edit account ${id}` },
    });
    const name = h("th", { attrs: { scope: "row" } }, id);
    const more = h("div", { class: "row-more" }, h("span", {}, notes.join(" · ")), deposit, edit);
    return [
      h("tr", {}, name, ...cells),
      h("tr", { class: "sub" }, h("td", { attrs: { colspan: "6" } }, more)),
    ];
  }

  async #balances(id: string): Promise<HTMLElement[]> {
    try {
      const view = await this.#desk.view(id);
      const { balance, held, available, posted, reservations } = view;
      return [balance, held, available, posted, reservations].map((amount) =>
        h("td", { class: amount === 0n ? "num zero" : "num" }, grouped(amount)),
      );
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      // There is no policy yet, and so no engine: the account is set up when there is one.
      return [h("td", { class: "none", attrs: { colspan: "5" } }, "waits for a policy")];
    }
  }

  #token(form: TokenForm): HTMLElement {
    const { token } = form;
    const isRevoked = this.#desk.revoked.has(token);
    const chips = list(form.scopes).map((scope) => h("span", { class: "chip" }, scope));
    const notes = [
      form.quota !== "" && `own quota ${form.quota} per ${form.windowMs} ms`,
      form.networks !== "" && `from ${list(form.networks).join(", ")}`,
      form.spendCaps !== "" && `caps ${form.spendCaps}`,
      form.expiresMs !== "" && `until ${form.expiresMs} ms`,
    ].filter((note) => note !== false);
    const attrs = (verb: string) => ({
      id: `${verb}-token-${token}`,
      "aria-label": `${verb} token ${token}`,
    });
    const revoke = button(
      "Revoke",
      () => void this.#hooks.guard(this.#problem, () => this.#desk.revoke(token)),
      { attrs: attrs("Revoke") },
    );
    const use = button("Use", () => this.#hooks.useToken(token), { attrs: attrs("Use") });
    const edit = button("Edit", () => this.#edit(this.#tokenForm, form), { attrs: attrs("Edit") });
    const actions: Child[] = isRevoked
      ? [h("span", { class: "tag error" }, "revoked")]
      : [use, edit, revoke];
    return h(
      "tr",
      { class: isRevoked ? "revoked" : "" },
      h("th", { attrs: { scope: "row" } }, h("code", { class: "token" }, token)),
      h(
        "td",
        {},
        h("div", { class: "of" }, form.account),
        h("div", { class: "chips" }, ...(chips.length > 0 ? chips : ["no scope"])),
        notes.length > 0 && h("div", { class: "notes" }, notes.join(" · ")),
      ),
      h("td", {}, h("div", { class: "actions" }, ...actions)),
    );
  }

  #edit(form: HTMLFormElement, values: AccountForm | TokenForm): void {
    writeFields(form, values);
    const details = form.closest("details");
    if (details !== null) details.open = true;
    const first = form.querySelector<HTMLElement>("input");
    first?.focus();
    first?.scrollIntoView({ block: "nearest" });
  }

  /** Accounts and scopes that the token's form offers. */
  #drawChoices(): void {
    const account = byId("token-account", HTMLSelectElement);
    const chosen = account.value;
    const ids = this.#desk.accounts.map(({ id }) => id);
    fill(account, ...ids.map((id) => h("option", { attrs: { value: id } }, id)));
    if (ids.includes(chosen)) account.value = chosen;
    const hint = byId("scope-hint", HTMLElement);
    const scopes = this.#desk.scopes;
    const field = this.#tokenForm.elements.namedItem("scopes");
    if (!(field instanceof HTMLInputElement)) return;
    // Drawn anew only where they are others: whoever is about to press one keeps it.
    const drawn = Array.from(hint.children, (child) => child.textContent);
    if (drawn.length === scopes.length && drawn.every((name, n) => name === scopes[n])) return;
    const add = (scope: string) => {
      const words = list(field.value);
      const kept = words.filter((word) => word !== scope);
      field.value = (kept.length === words.length ? [...words, scope] : kept).join(" ");
    };
    fill(
      hint,
      ...scopes.map((scope) =>
        button(scope, () => add(scope), {
          class: "chip",
          attrs: { id: `scope-${scope}` },
        }),
      ),
    );
  }
}

/** What has the focus within the tables, which are drawn anew. */
function focusedRow(): string | undefined {
  const active = document.activeElement;
  const isWithin = active?.closest("#state") !== null && active?.id !== "";
  return isWithin ? active?.id : undefined;
}
