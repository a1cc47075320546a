import { call, raw } from "./raw.js";

/** A new native token, out of 32 bytes of the platform's secure entropy. */
export function generateToken(): string {
  const entropy = crypto.getRandomValues(new Uint8Array(32));
  return call(() => raw().tokenFrom(entropy)) as string; // there, for 32 bytes
}

/** The library's version. */
export function version(): string {
  return call(() => raw().version());
}
