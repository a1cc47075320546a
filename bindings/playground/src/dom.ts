// Small helpers over the DOM. Text is only ever set as text.

export type Child = Node | string | null | undefined | false;

export interface Props {
  class?: string;
  attrs?: Readonly<Record<string, string | undefined>>;
  on?: Readonly<Record<string, (event: Event) => void>>;
}

/** An element with attributes, handlers and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (props.class !== undefined) element.className = props.class;
  for (const [name, value] of Object.entries(props.attrs ?? {})) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  for (const [name, handler] of Object.entries(props.on ?? {})) {
    element.addEventListener(name, handler);
  }
  append(element, children);
  return element;
}

/** The same for SVG. */
export function svg(
  tag: string,
  attrs: Readonly<Record<string, string | number>> = {},
  ...children: readonly Child[]
): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attrs)) element.setAttribute(name, String(value));
  append(element, children);
  return element;
}

function append(parent: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
}

/** Puts these in place of what is within. */
export function fill(parent: Element, ...children: readonly Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

/** The element of the page with this id, which is of this class. */
export function byId<T extends Element>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return element;
}

/** A button that does this. */
export function button(label: string, act: () => void, props: Props = {}): HTMLButtonElement {
  const attrs = { type: "button", ...props.attrs };
  return h("button", { ...props, attrs, on: { click: act, ...props.on } }, label);
}

/** Tells assistive technology, politely. */
export function announce(text: string): void {
  byId("announce", HTMLElement).textContent = text;
}

/** A word for a moment beside what was clicked, also for assistive technology. */
export function flash(element: HTMLElement, word: string): void {
  const before = element.dataset["label"] ?? element.textContent ?? "";
  element.dataset["label"] = before;
  element.textContent = word;
  announce(word);
  setTimeout(() => {
    element.textContent = before;
  }, 1500);
}

/** Copies a text, and says at the button whether that worked. */
export async function copy(text: string, from: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    flash(from, "Copied");
    return true;
  } catch {
    flash(from, "Not allowed");
    return false;
  }
}
