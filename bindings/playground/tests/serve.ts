// The built page, served on a free port of this machine as any static server would.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".wasm": "application/wasm",
};

export interface Server {
  url: string;
  close: () => Promise<void>;
}

/** Serves the folder below `/some/path/`, so that absolute links of the page would not be found. */
export async function serve(folder: string): Promise<Server> {
  const base = "/some/path/";
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const name = normalize(path.slice(base.length) || "index.html");
    const file = join(folder, name);
    const isWithin = path.startsWith(base) && !name.startsWith("..");
    const missing = () => response.writeHead(404).end();
    if (!isWithin) return void missing();
    stat(file).then((found) => {
      if (!found.isFile()) return void missing();
      const type = TYPES[extname(file)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type });
      createReadStream(file).pipe(response);
    }, missing);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${address.port}${base}`, close };
}
