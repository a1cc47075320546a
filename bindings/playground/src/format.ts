// Texts of numbers, times and bytes.

const decoder = new TextDecoder();

/** 1234567 → "1,234,567". */
export function grouped(value: bigint | number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Unix ms → "2026-11-24 20:07:44.000". */
export function dateTime(ms: number): string {
  return iso(ms).replace("T", " ").replace("Z", "");
}

/** Unix ms → "20:07:44.000". */
export function timeOfDay(ms: number): string {
  return iso(ms).slice(-13, -1);
}

function iso(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}

/** A length of time: 90500 → "1 min 30.5 s". */
export function span(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  const units: [string, number][] = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000]];
  const parts: string[] = [];
  let rest = ms;
  for (const [name, size] of units) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${grouped(count)} ${name}`);
    rest -= count * size;
  }
  if (rest > 0 && parts.length < 2) parts.push(`${rest / 1000} s`);
  return parts.slice(0, 2).join(" ");
}

/** Adds to each point of time of the trace how far away it is. */
export function withDistance(text: string, nowMs: number): string {
  return text.replace(/\bat (\d{12,14}) ms\b/g, (whole, digits: string) => {
    const away = Number(digits) - nowMs;
    return away >= 0 ? `${whole} (in ${span(away)})` : `${whole} (${span(-away)} ago)`;
  });
}

export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  409: "Conflict",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** `429 Too Many Requests`. */
export function statusLine(status: number): string {
  const reason = REASONS[status];
  return reason === undefined ? String(status) : `${status} ${reason}`;
}

/** JSON of an object with one member a line, which is how steps are read best. */
export function toJsonLines(value: object): string {
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => `  ${JSON.stringify(name)}: ${spaced(toJson(member))}`);
  return members.length === 0 ? "{}" : `{\n${members.join(",\n")}\n}`;
}

/** Spaces after the commas and colons that are not within strings. */
function spaced(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|[,:]/g, (part) => {
    return part.startsWith('"') ? part : `${part} `;
  });
}

const BIG = "\u0001big:";

/** JSON with 64-bit integers as plain numbers. */
export function toJson(value: unknown, indent?: number): string {
  const replaced = JSON.stringify(
    value,
    (_, member: unknown) => (typeof member === "bigint" ? `${BIG}${member}` : member),
    indent,
  );
  return replaced === undefined ? "" : replaced.replace(/"\\u0001big:(-?\d+)"/g, "$1");
}
