// Makes as many decisions as it is asked for.

import * as tollgate from "../npm/dist/objects/workerd.js";
import { decisions } from "./decisions.mjs";

let made;

export default {
  async fetch(request) {
    made ??= tollgate.init().then(() => decisions(tollgate));
    const { searchParams } = new URL(request.url);
    (await made)[searchParams.get("what")](Number(searchParams.get("count")));
    return new Response("done");
  },
};
