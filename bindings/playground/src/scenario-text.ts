// Scenarios from text: lines of JSON, a list of steps, or a file of vectors.

import { mismatches } from "tollgate/scenario";
import { FieldError } from "./parse.js";

export type Step = Readonly<Record<string, unknown>>;

export interface Scenario {
  name: string;
  steps: readonly Step[];
}

/** Reads the text. Whole numbers that a double cannot hold become bigints. */
export function readScenarios(text: string): Scenario[] {
  const trimmed = text.trim();
  if (trimmed === "") throw new FieldError("Write a step, one a line, or open a file");
  const whole = attempt(trimmed);
  if (whole === undefined) return [{ name: "steps", steps: readLines(text) }];
  if (Array.isArray(whole)) return [{ name: "steps", steps: whole.map(asStep) }];
  const file = asStep(whole, 0);
  if (!("scenarios" in file)) return [{ name: "steps", steps: [file] }];
  if (!Array.isArray(file["scenarios"])) throw new FieldError("`scenarios` must be a list");
  return file["scenarios"].map((item: unknown, index) => {
    const { name, steps } = asStep(item, index);
    if (!Array.isArray(steps)) throw new FieldError(`scenario ${index + 1} has no list of steps`);
    const says = typeof name === "string" ? name : `scenario ${index + 1}`;
    return { name: says, steps: steps.map(asStep) };
  });
}

function attempt(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}

function readLines(text: string): Step[] {
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [asStep(parseJson(line), index)];
    } catch (error) {
      const says = error instanceof Error ? error.message : String(error);
      throw new FieldError(`line ${index + 1}: ${says}`);
    }
  });
}

function asStep(value: unknown, index: number): Step {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Step;
  throw new FieldError(`step ${index + 1} is no JSON object`);
}

const BIG = "\u0001big:";

function parseJson(text: string): unknown {
  // Strings are matched whole, so that a number within one stays as it is.
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (token) => {
    const isBig = !token.startsWith('"') && !Number.isSafeInteger(Number(token));
    return isBig ? `"\\u0001big:${token}"` : token;
  });
  return JSON.parse(marked, (_, value: unknown) => {
    const isBig = typeof value === "string" && value.startsWith(BIG);
    return isBig ? BigInt(value.slice(BIG.length)) : value;
  });
}

/** What of the reply is not as the step expects. A step that expects nothing must not fail. */
export function check(step: Step, reply: Step): string[] {
  const expect = step["expect"];
  const own = expect === undefined ? failure(reply) : mismatches(asExpect(expect), reply);
  return [...own, ...within(step, reply, expect !== undefined)];
}

function asExpect(value: unknown): object {
  if (isObject(value)) return value;
  throw new FieldError("an `expect` must be an object");
}

/** The steps of a `parallel` step, each by what it expects itself. */
function within(step: Step, reply: Step, hasExpect: boolean): string[] {
  const { op, steps } = step;
  const replies = reply["replies"];
  if (op !== "parallel" || !Array.isArray(steps) || !Array.isArray(replies)) return [];
  return steps.flatMap((inner: unknown, index) => {
    const its: unknown = replies[index];
    if (!isObject(inner) || !isObject(its)) return [];
    if (hasExpect && inner["expect"] === undefined) return [];
    return check(inner, its).map((what) => `replies[${index}].${what}`);
  });
}

function failure(reply: Step): string[] {
  const error = reply["error"];
  return error === undefined ? [] : [`error: expected none, got ${JSON.stringify(error)}`];
}

function isObject(value: unknown): value is Step {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A few words on a step. */
export function summary(step: Step): string {
  const words = ["id", "method", "target", "outcome", "account", "token", "amount", "preset"];
  const known = words.map((word) => step[word]).filter((value) => value !== undefined);
  return known.map(String).join(" ");
}
