// Judges webhook requests by the public standardwebhooks package: a JSON list of {secret, headers, body} on stdin.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

// The packages lie where POSTROAD_NODE_MODULES says, not beside this file.
const require = createRequire(process.env.POSTROAD_NODE_MODULES + "/");
const { Webhook } = require("standardwebhooks");

for (const request of JSON.parse(readFileSync(0, "utf8"))) {
  new Webhook(request.secret).verify(request.body, request.headers);
}
console.log("ok");
