// The simulated clock: it stands still until its user moves it.

import type { Desk } from "./desk.js";
import { announce, byId, fill, h } from "./dom.js";
import { dateTime } from "./format.js";
import { closesByItself } from "./menu.js";
import { whole } from "./parse.js";

/** The latest time that the engine takes. */
const MAX_MS = 2 ** 44 - 1;

type Guard = (problem: HTMLElement, act: () => Promise<void> | void) => Promise<void>;

export function startClock(desk: Desk, guard: Guard): void {
  const problem = byId("clock-problem", HTMLElement);
  const set = (ms: number): void => {
    void guard(problem, async () => {
      const ended = await desk.setClock(ms);
      const also = ended > 0n ? `; ${ended} records have come to their end` : "";
      announce(`The clock is at ${dateTime(ms)}${also}`);
    });
  };
  const advance = (ms: number): void => set(Math.min(desk.clockMs + ms, MAX_MS));
  for (const each of document.querySelectorAll<HTMLButtonElement>("[data-advance]")) {
    each.addEventListener("click", () => advance(Number(each.dataset["advance"])));
  }
  byId("clock-now", HTMLButtonElement).addEventListener("click", () => set(Date.now()));
  const onSubmit = (id: string, act: (typed: string) => void): void => {
    const form = byId(id, HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const typed = form.querySelector("input")?.value ?? "";
      void guard(problem, () => act(typed));
    });
  };
  onSubmit("clock-advance", (typed) => advance(whole("Advance by", typed, 0, MAX_MS)));
  onSubmit("clock-set", (typed) => set(whole("Unix ms", typed, 0, MAX_MS)));
  const menu = byId("clock-menu", HTMLDetailsElement);
  closesByItself(menu);
  menu.addEventListener("toggle", () => {
    if (menu.open) byId("clock-ms", HTMLInputElement).value = String(desk.clockMs);
  });
  desk.onChange(() => {
    const [date = "", time = ""] = dateTime(desk.clockMs).split(" ");
    const clock = byId("clock", HTMLTimeElement);
    clock.dateTime = `${date}T${time}Z`;
    fill(clock, h("span", { class: "date" }, `${date} `), time);
  });
}
