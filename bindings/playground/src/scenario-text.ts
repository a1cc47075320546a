// Scenarios from text: lines of JSON, a list of steps, or a file of vectors.

import { check } from "tollgate/scenario";
import { toJson } from "./format.js";
import { FieldError } from "./parse.js";

export type Step = Record<string, unknown>;

export interface Scenario {
  name: string;
  steps: readonly Step[];
}

/** Reads the text. */
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

/** Numbers that JavaScript would round become texts of their digits, as the package takes them. */
function parseJson(text: string): unknown {
  // Strings are matched whole, so that a number within one stays as it is.
  const exact = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (token) => {
    const isRounded = !token.startsWith('"') && !Number.isSafeInteger(Number(token));
    return isRounded ? `"${token}"` : token;
  });
  return JSON.parse(exact) as unknown;
}

/** What of the reply is not as the step expects, in words. */
export function differences(step: Step, reply: Step): string[] {
  return check(step, reply).map(({ place, expected, actual }) => {
    const got = actual === undefined ? "nothing" : toJson(actual);
    return `${place === "" ? "the reply" : place}: expected ${expected}, got ${got}`;
  });
}

/** A few words on a step. */
export function summary(step: Step): string {
  const words = ["id", "method", "target", "outcome", "account", "token", "amount", "preset"];
  const known = words.map((word) => step[word]).filter((value) => value !== undefined);
  return known.map(String).join(" ");
}
