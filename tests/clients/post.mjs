// node post.mjs URL PICTURE prints every answer: of fetch and of node:http, to bodies of known size and in chunks.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";

const [url, file] = process.argv.slice(2);
const headers = { "Content-Type": "image/jpeg" };
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

async function byFetch(body) {
  const answer = await fetch(url, { method: "POST", headers, body, duplex: "half" });
  return answer.text();
}

function byHttp(send) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers, agent }, (answer) => resolve(text(answer)));
    request.on("error", reject);
    send(request);
  });
}

const picture = await readFile(file);
for (let round = 0; round < 3; round++) {
  console.log(await byFetch(picture));
  console.log(await byFetch(Readable.toWeb(createReadStream(file))));
  console.log(await byHttp((request) => request.end(picture))); // in one piece, so that its length is known
  console.log(await byHttp((request) => createReadStream(file).pipe(request)));
}
agent.destroy();
