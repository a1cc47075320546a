// Where in a policy's text a place such as `limits.token.window_ms` or `scopes."sms:send"[0]` is.

import { jsonLanguage } from "@codemirror/lang-json";
import type { SyntaxNode } from "@lezer/common";

export interface Range {
  from: number;
  to: number;
}

type Segment = string | number;

/** The place itself, or the nearest one around it that the text has. */
export function locate(text: string, place: string, line: number | undefined): Range | undefined {
  const segments = readPlace(place);
  const found = isJson(text) ? inJson(text, segments) : inToml(text, segments);
  if (line === undefined) return found;
  const whole = lineRange(text, line);
  const fits = found !== undefined && found.from >= whole.from && found.from <= whole.to;
  return fits ? found : whole;
}

export function isJson(text: string): boolean {
  return text.trimStart().startsWith("{");
}

/** `a."b c"[0]` → ["a", "b c", 0]. */
export function readPlace(place: string): Segment[] {
  const parts = place.matchAll(/"((?:[^"\\]|\\.)*)"|\[(\d+)\]|([^."[\]]+)/g);
  return [...parts].map(([, quoted, index, bare]) => {
    if (index !== undefined) return Number(index);
    return quoted === undefined ? (bare ?? "") : quoted.replace(/\\(.)/g, "$1");
  });
}

function lineRange(text: string, line: number): Range {
  let from = 0;
  for (let passed = 1; passed < line; passed += 1) {
    const end = text.indexOf("\n", from);
    if (end < 0) break;
    from = end + 1;
  }
  const end = text.indexOf("\n", from);
  return trimmed(text, from, end < 0 ? text.length : end);
}

function trimmed(text: string, from: number, to: number): Range {
  const part = text.slice(from, to);
  const lead = part.length - part.trimStart().length;
  return { from: from + lead, to: from + Math.max(part.trimEnd().length, lead) };
}

function inJson(text: string, segments: readonly Segment[]): Range | undefined {
  let value: SyntaxNode | null = jsonLanguage.parser.parse(text).topNode.firstChild;
  let found: Range | undefined;
  for (const segment of segments) {
    const next = value === null ? undefined : jsonChild(text, value, segment);
    if (next === undefined) break;
    found = { from: next.mark.from, to: next.mark.to };
    value = next.value;
  }
  return found;
}

interface Child {
  mark: SyntaxNode;
  value: SyntaxNode | null;
}

function jsonChild(text: string, parent: SyntaxNode, segment: Segment): Child | undefined {
  if (typeof segment === "number") {
    const items: SyntaxNode[] = [];
    for (let node = parent.firstChild; node !== null; node = node.nextSibling) {
      if (!/^[[\],]$/.test(node.name)) items.push(node);
    }
    const item = items[segment];
    return item === undefined ? undefined : { mark: item, value: item };
  }
  for (const property of parent.getChildren("Property")) {
    const name = property.getChild("PropertyName");
    if (name === null || unquote(text.slice(name.from, name.to)) !== segment) continue;
    return { mark: name, value: property.lastChild };
  }
  return undefined;
}

function unquote(text: string): string {
  try {
    const read: unknown = JSON.parse(text);
    return typeof read === "string" ? read : text;
  } catch {
    return text.replace(/^['"]|['"]$/g, "");
  }
}

interface Key {
  path: Segment[];
  mark: Range;
  /** The value's text, up to the next key or table. */
  value: Range;
}

function inToml(text: string, segments: readonly Segment[]): Range | undefined {
  let best: Key | undefined;
  const keys = tomlKeys(text);
  for (const key of keys) {
    const isAround = key.path.every((part, at) => part === segments[at]);
    if (isAround && key.path.length > (best?.path.length ?? 0)) best = key;
  }
  // `limits` itself is nowhere when there is only `[limits.token]`.
  const below = ({ path }: Key) => segments.every((part, at) => part === path[at]);
  if (best === undefined) return segments.length > 0 ? keys.find(below)?.mark : undefined;
  return withinValue(text, best, segments.slice(best.path.length)) ?? best.mark;
}

const KEY = String.raw`(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')`;
const KEYS = String.raw`${KEY}(?:\s*\.\s*${KEY})*`;
const HEADER = new RegExp(String.raw`^\s*\[{1,2}\s*(${KEYS})\s*\]{1,2}`);
const ASSIGNMENT = new RegExp(String.raw`^\s*(${KEYS})\s*=`);

/** Tables and keys at the beginnings of lines, which is where people write them. */
function tomlKeys(text: string): Key[] {
  const keys: Key[] = [];
  let table: Segment[] = [];
  let offset = 0;
  for (const line of text.split("\n")) {
    const end = offset + line.length;
    const last = keys.at(-1);
    const header = HEADER.exec(line)?.[1];
    const name = header ?? ASSIGNMENT.exec(line)?.[1];
    if (name === undefined) {
      if (last !== undefined && !line.trimStart().startsWith("#")) last.value.to = end;
    } else {
      const from = offset + line.indexOf(name);
      const own = splitKeys(name);
      if (header !== undefined) table = own;
      const mark = { from, to: from + name.length };
      const value = { from: mark.to, to: end };
      keys.push({ path: header === undefined ? [...table, ...own] : own, mark, value });
    }
    offset = end + 1;
  }
  return keys;
}

function splitKeys(name: string): Segment[] {
  return [...name.matchAll(new RegExp(KEY, "g"))].map(([part]) => unquote(part));
}

/** Inline tables and lists: the key by its name, the element by its count. */
function withinValue(text: string, key: Key, rest: readonly Segment[]): Range | undefined {
  const value = text
    .slice(key.value.from, key.value.to)
    .replace(/"(?:[^"\\]|\\.)*"|'[^']*'|#[^\n]*/g, (part) => {
      return part.startsWith("#") ? " ".repeat(part.length) : part;
    });
  let at = 0;
  let found: Range | undefined;
  for (const segment of rest) {
    const tail = value.slice(at);
    const match =
      typeof segment === "number"
        ? [...tail.matchAll(/"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,[\]{}=#]+/g)].filter(
            ([part]) => part !== "=",
          )[segment]
        : new RegExp(String.raw`["']?${escape(segment)}["']?(?=\s*[=.])`).exec(tail);
    if (match === undefined || match === null) break;
    const from = key.value.from + at + match.index;
    found = { from, to: from + match[0].length };
    at += match.index + match[0].length;
  }
  return found;
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
