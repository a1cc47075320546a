// The page's content in a link's fragment, which browsers do not send to servers, and as a draft.

const PREFIX = "#p=";
const DRAFT = "tollgate-playground-draft";
/** Most that a link may unpack to. */
const MAX_BYTES = 8_000_000;

export async function toFragment(value: unknown): Promise<string> {
  const packed = new Blob([JSON.stringify(value)])
    .stream()
    .pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  const encoded = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${PREFIX}${encoded}`;
}

/** What the fragment carries; undefined if it carries nothing. Throws when it cannot be read. */
export async function fromFragment(fragment: string): Promise<unknown> {
  if (!fragment.startsWith(PREFIX)) return undefined;
  const encoded = fragment.slice(PREFIX.length).replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await readAtMost(unpacked, MAX_BYTES)) as unknown;
}

async function readAtMost(stream: ReadableStream<Uint8Array>, most: number): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let size = 0;
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    size += part.value.length;
    if (size > most) throw new Error("the link holds too much");
    text += decoder.decode(part.value, { stream: true });
  }
  return text + decoder.decode();
}

/** The draft; undefined when there is none, or the browser keeps nothing. */
export function readDraft(): unknown {
  try {
    const kept = localStorage.getItem(DRAFT);
    return kept === null ? undefined : (JSON.parse(kept) as unknown);
  } catch {
    return undefined;
  }
}

/** Whether it could be kept. */
export function keepDraft(value: unknown): boolean {
  try {
    localStorage.setItem(DRAFT, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

const NONE_WANTED = "off";

/** Removes the draft, and keeps no more than that none is wanted. */
export function forgetDraft(): void {
  try {
    localStorage.setItem(DRAFT, NONE_WANTED);
  } catch {
    // Then there is none.
  }
}

/** Whether drafts are to be kept, which they are unless their user said no. */
export function wantsDraft(): boolean {
  try {
    return localStorage.getItem(DRAFT) !== NONE_WANTED;
  } catch {
    return false;
  }
}
