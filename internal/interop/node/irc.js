// An IRC client that does what it reads from its input, one line each, and prints
// what it sees. It ends with its input.
import readline from "node:readline";
import IRC from "irc-framework";
import WebSocketTransport from "irc-framework/src/transports/websocket.js";
import WebSocket from "ws";

globalThis.WebSocket = WebSocket; // the transport is made for browsers
const [way, host, port, nick] = process.argv.slice(2);

const options = { host, port: Number(port), nick, username: nick, gecos: nick, auto_reconnect: false };
if (way === "ws") Object.assign(options, { transport: WebSocketTransport, websocket_protocol: "text.ircv3.net", path: "/" });

const client = new IRC.Client();
client.on("registered", () => console.log("registered"));
client.on("join", e => console.log(`join ${e.nick} ${e.channel}`));
client.on("message", e => console.log(`message ${e.nick} ${e.target} ${e.message}`));
client.on("nick", e => console.log(`nick ${e.nick} ${e.new_nick}`));
client.on("topic", e => console.log(`topic ${e.channel} ${e.topic}`));
client.on("close", () => process.exit(0));
client.connect(options);

const actions = {
  join: channel => client.join(channel),
  say: (channel, ...text) => client.say(channel, text.join(" ")),
  nick: name => client.changeNick(name),
  topic: (channel, ...text) => client.setTopic(channel, text.join(" ")),
  part: channel => client.part(channel),
};
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", line => { const [action, ...rest] = line.split(" "); actions[action](...rest); });
lines.on("close", () => client.quit());
