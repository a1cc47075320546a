// Answers that are not the upstream's.

import type { Decision } from "tollgate/objects";

/** Statuses whose responses have no body. */
export const NO_BODY: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/** A denial or a replay as it is sent. */
export function answer(decision: Decision, method: string): Response {
  const headers = new Headers();
  for (const [name, value] of decision.headers) {
    append(headers, name, value);
  }
  const body = method === "HEAD" || NO_BODY.has(decision.status) ? null : decision.body;
  // What is kept is as it came from the upstream, encoded or not.
  return new Response(body, { status: decision.status, headers, encodeBody: "manual" });
}

/** Puts the engine's headers on an allowed request's response, in place of the upstream's own. */
export function addHeaders(headers: Headers, decision: Decision): void {
  for (const [name] of decision.headers) {
    headers.delete(name);
  }
  for (const [name, value] of decision.headers) {
    append(headers, name, value);
  }
}

function append(headers: Headers, name: string, value: string): void {
  try {
    headers.append(name, value);
  } catch {
    // What the engine answers are valid headers; what a store gave back may not be.
  }
}

export function json(status: number, value: unknown): Response {
  return text(status, JSON.stringify(value));
}

function text(status: number, body: string): Response {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  return new Response(body, { status, headers });
}

/** As the engine answers when the store fails; for what fails before or beside the engine. */
export function unavailable(): Response {
  return json(503, {
    message: "The request could not be checked. Try again later.",
    code: "store_unavailable",
  });
}

export function upstreamTimeout(): Response {
  return json(504, {
    message:
      "The request was passed on, but no answer came in time. It may have been carried out: check before you send it again.",
    code: "upstream_timeout",
  });
}

export function upstreamFailed(): Response {
  return json(502, {
    message:
      "The request was passed on, but its answer was lost. It may have been carried out: check before you send it again.",
    code: "upstream_failed",
  });
}

/** Nobody reads it. */
export function clientLeft(): Response {
  return new Response(null, { status: 499 });
}
