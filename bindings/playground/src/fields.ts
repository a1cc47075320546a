// Forms of the page ↔ their values, by the `name` of each field.

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

function control(form: HTMLFormElement, name: string): Control | RadioNodeList | undefined {
  const found = form.elements.namedItem(name);
  const kinds = [HTMLInputElement, HTMLSelectElement, HTMLTextAreaElement, RadioNodeList];
  return kinds.some((kind) => found instanceof kind) ? (found as Control) : undefined;
}

/** Reads the fields that `like` has. */
export function readFields<T extends object>(form: HTMLFormElement, like: T): T {
  const read = Object.entries(like).map(([name, fallback]) => {
    const field = control(form, name);
    if (field === undefined) return [name, fallback];
    if (typeof fallback === "boolean") return [name, (field as HTMLInputElement).checked];
    return [name, field.value];
  });
  return Object.fromEntries(read) as T;
}

export function writeFields(form: HTMLFormElement, values: object): void {
  for (const [name, value] of Object.entries(values)) {
    const field = control(form, name);
    if (field === undefined) continue;
    if (typeof value === "boolean") (field as HTMLInputElement).checked = value;
    else field.value = String(value);
  }
}
