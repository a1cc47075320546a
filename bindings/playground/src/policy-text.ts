// TOML → JSON: the module reads JSON alone, which keeps a TOML parser out of its size.

import { TomlDate, TomlError, parse } from "smol-toml";
import { isJson } from "./locate.js";

/** A text that is no TOML. */
export class TextError extends Error {
  /** From 1. */
  readonly line: number;

  constructor(message: string, line: number) {
    super(message);
    this.line = line;
  }
}

/** The policy as JSON. */
export function toPolicyJson(text: string): string {
  if (isJson(text)) return text;
  try {
    return write(parse(text, { integersAsBigInt: true }));
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const message = error.message.split("\n")[0] ?? error.message;
    throw new TextError(message.replace(/^Invalid TOML document: /, ""), error.line);
  }
}

/** JSON has no inf and nan; as texts they are refused where they stand. */
function finite(value: number): string {
  return Number.isFinite(value) ? `${value}` : `"${value}"`;
}

/** Keeps what TOML tells apart: 60 is a whole number, 60.0 is none, and neither is rounded. */
function write(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return Number.isInteger(value) ? `${value}.0` : finite(value);
  if (value instanceof TomlDate) return JSON.stringify(value.toISOString());
  if (Array.isArray(value)) return `[${value.map(write).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, member]) => {
    return `${JSON.stringify(key)}:${write(member)}`;
  });
  return `{${members.join(",")}}`;
}
