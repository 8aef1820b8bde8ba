// Sends back every message, until its standard input ends. It prints its port.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 }, maxPayload: Number(process.argv[2]) });
server.on("connection", socket => socket.on("message", (data, binary) => socket.send(data, { binary })));
server.on("listening", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
