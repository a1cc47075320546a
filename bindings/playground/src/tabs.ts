// Tabs by the ARIA pattern: arrows move, Home and End jump, one tab is in the tab order.
//
// On wide screens policy and state stand beside the rest and are no tabs.

import { byId } from "./dom.js";

const WIDE = matchMedia("(min-width: 1000px)");
const ALWAYS_IF_WIDE = ["policy", "state"];

export class Tabs {
  #tabs: HTMLButtonElement[];
  #chosen = "request";

  constructor() {
    const list = byId("tabs", HTMLElement);
    this.#tabs = [...list.querySelectorAll("button")];
    for (const tab of this.#tabs) {
      tab.addEventListener("click", () => this.choose(name(tab)));
    }
    list.addEventListener("keydown", (event) => this.#key(event));
    WIDE.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  choose(panel: string): void {
    this.#chosen = panel;
    this.#draw();
  }

  #isTab(panel: string): boolean {
    return !(WIDE.matches && ALWAYS_IF_WIDE.includes(panel));
  }

  #key(event: KeyboardEvent): void {
    const tabs = this.#tabs.filter((tab) => this.#isTab(name(tab)));
    const at = tabs.findIndex((tab) => name(tab) === this.#chosen);
    const places: Readonly<Record<string, number>> = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    };
    const next = tabs[places[event.key] ?? -1];
    if (next === undefined) return;
    event.preventDefault();
    this.choose(name(next));
    next.focus();
  }

  #draw(): void {
    if (!this.#isTab(this.#chosen)) this.#chosen = "request";
    for (const tab of this.#tabs) {
      const panel = byId(name(tab), HTMLElement);
      const isTab = this.#isTab(panel.id);
      const isChosen = panel.id === this.#chosen;
      tab.hidden = !isTab;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      panel.hidden = isTab && !isChosen;
      if (isTab) panel.setAttribute("role", "tabpanel");
      else panel.removeAttribute("role");
      // As a panel it is named by its tab, otherwise by its heading.
      panel.setAttribute("aria-labelledby", isTab ? tab.id : `${panel.id}-title`);
    }
  }
}

function name(tab: HTMLButtonElement): string {
  return tab.getAttribute("aria-controls") ?? "";
}
