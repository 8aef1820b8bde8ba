// Sends a conversation to the server at the URL, compares what comes back, and
// prints "ok". A server that answers wrongly, or not at all, is printed as an error.
import { randomBytes } from "node:crypto";
import WebSocket from "ws";

const [url, maxMessage] = [process.argv[2], Number(process.argv[3])];
const patience = 180_000; // ms

const conversation = ["", Buffer.alloc(0), "κόσμε 😀"];
for (const n of [1, 125, 126, 127, 128, 4096, 65535, 65536, maxMessage]) conversation.push("*".repeat(n), randomBytes(n));

function talk(options) {
  return new Promise((resolve, reject) => {
    let at = 0, pongs = 0;
    const socket = new WebSocket(url, ["echo"], options);
    const timer = setTimeout(() => reject(new Error(`${at} of ${conversation.length} messages came back in ${patience} ms`)), patience);
    socket.on("error", reject);
    socket.on("open", () => {
      if ((socket.extensions !== "") !== options.perMessageDeflate) reject(new Error(`the extensions are "${socket.extensions}"`));
      for (const m of conversation) socket.send(m); // all at once
      socket.ping("ping");
    });
    socket.on("pong", p => { if (p.toString() === "ping") pongs++; });
    socket.on("message", (data, binary) => {
      const want = conversation[at++];
      if (binary === (typeof want === "string") || !data.equals(Buffer.from(want))) reject(new Error(`message ${at} is another`));
      if (at === conversation.length) socket.close(4000, "done");
    });
    socket.on("close", (code, reason) => {
      clearTimeout(timer);
      if (code !== 4000 || reason.toString() !== "done" || at !== conversation.length || pongs !== 1)
        reject(new Error(`closed with ${code} "${reason}", ${at} messages, ${pongs} pongs`));
      resolve();
    });
  });
}

for (const perMessageDeflate of [false, true]) await talk({ perMessageDeflate });
console.log("ok");
