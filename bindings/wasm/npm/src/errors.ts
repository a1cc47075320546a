import type { PolicyProblem } from "./types.js";

/** What every call throws that fails. */
export class TollgateError extends Error {
  /** For programs; stays the same. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A policy does not compile. Code: `policy_invalid`. */
export class PolicyError extends TollgateError {
  /** All that is wrong with it. */
  readonly errors: readonly PolicyProblem[];

  constructor(code: string, message: string, errors: readonly PolicyProblem[]) {
    super(code, message);
    this.errors = errors;
  }
}

/** An argument has a wrong type or is out of its range. Code: `invalid_argument`. */
export class RequestError extends TollgateError {
  constructor(message: string, code = "invalid_argument") {
    super(code, message);
  }
}

/** A store refused, and changed nothing: `unknown_account`, `already_finished` and so on. */
export class RefusedError extends TollgateError {}

/** A store failed: `store_unavailable`, `store_full`, `store_corrupt` and so on. */
export class StoreError extends TollgateError {}

interface Thrown {
  kind: "policy" | "request" | "refused" | "store";
  code: string;
  message: string;
  errors?: PolicyProblem[];
}

/** The error that the module means by what it threw. */
export function errorOf(thrown: unknown): Error {
  if (typeof thrown === "string") {
    const { kind, code, message, errors } = JSON.parse(thrown) as Thrown;
    switch (kind) {
      case "policy":
        return new PolicyError(code, message, errors ?? []);
      case "request":
        return new RequestError(message, code);
      case "refused":
        return new RefusedError(code, message);
      case "store":
        return new StoreError(code, message);
    }
  }
  return thrown instanceof Error ? thrown : new TollgateError("internal", String(thrown));
}
