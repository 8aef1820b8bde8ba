// Two people in two browsers play through the chat's page. The server is at the
// address that is given, with the link that makes the administrator; pictures of all
// views go into a directory.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import { createRequire } from "node:module";
import path from "node:path";
import { chromium } from "playwright-core";

const [link, irc, executablePath, pictures] = process.argv.slice(2);
const patience = Number(process.env.PATIENCE ?? 120_000); // the machine may be slow
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: patience });
const problems = []; // of all pages

// A cut is a way to the server that can be interrupted.
async function wayTo(host, port) {
  const open = new Set();
  let isCut = false;
  const proxy = net.createServer(socket => {
    if (isCut) { socket.destroy(); return; }
    const there = net.connect(port, host);
    for (const s of [socket, there]) { open.add(s); s.on("error", () => {}); s.on("close", () => { open.delete(s); socket.destroy(); there.destroy(); }); }
    socket.pipe(there).pipe(socket);
  });
  await new Promise(resolve => proxy.listen(0, "127.0.0.1", resolve));
  return {
    port: proxy.address().port,
    cut() { isCut = true; for (const s of open) s.destroy(); },
    mend() { isCut = false; },
    close() { this.cut(); proxy.close(); },
  };
}

// person opens a browser of somebody's own.
async function person(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, locale: "en-US", ...options });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  page.on("console", m => { if (m.type() === "error" && !/ERR_|WebSocket|status of 409|Push API in incognito/.test(m.text())) problems.push(`${name}: ${m.text()}`); });
  page.on("pageerror", e => problems.push(`${name}: ${e.stack}`));
  page.on("dialog", d => { problems.push(`${name}: a dialog: ${d.message()}`); d.dismiss(); });
  page.on("request", r => { if (new URL(r.url()).hostname !== "127.0.0.1") problems.push(`${name}: a request to ${r.url()}`); });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", e => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  return page;
}

async function signUp(page, address, name) {
  await page.goto(address);
  await page.locator("#name:focus").waitFor(); // by keyboard alone
  await page.keyboard.type(name);
  for (let i = 0; i < 2; i++) {
    await page.keyboard.press("Tab");
    await page.keyboard.type(`${name} has a secret`);
  }
  await page.keyboard.press("Enter");
}

// tabTo presses Tab until something has the focus.
async function tabTo(page, target, key = "Tab") {
  for (let i = 0; i < 80; i++) {
    if (await target.evaluate(e => e === document.activeElement)) return;
    await page.keyboard.press(key);
  }
  throw new Error(`${key} does not lead to ${target}`);
}

// asksForFile presses Enter on a button until a file is asked for: what is drawn just then
// may have taken the focus.
async function asksForFile(page, target, key) {
  for (let i = 0; i < 10; i++) {
    await tabTo(page, target, key);
    const chosen = page.waitForEvent("filechooser", { timeout: 10_000 }).catch(() => undefined);
    await page.keyboard.press("Enter");
    const chooser = await chosen;
    if (chooser) return chooser;
  }
  throw new Error(`no file is asked for; the focus is on ${await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200))}`);
}

const message = (page, text) => page.locator(".row", { has: page.locator(".text", { hasText: text }) }).last();
const sees = (page, text) => message(page, text).waitFor();
const inChannel = (page, name) => page.locator(".head h1", { hasText: name }).waitFor();

async function say(page, text) {
  await page.fill("#field", text);
  await page.press("#field", "Enter");
}

// tool presses one of the buttons that a message has.
async function tool(page, text, name) {
  const row = message(page, text);
  await row.hover();
  await row.getByRole("button", { name, exact: true }).click();
}

async function check(page, view) {
  await page.screenshot({ path: path.join(pictures, `${view}.png`), animations: "disabled" });
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const v of found.violations) problems.push(`${view}: ${v.id}: ${v.help}: ${v.nodes.map(n => n.target.join(" ")).slice(0, 3).join(", ")}`);
}

// weigh fails when what a page has loaded up to now is more than a first view may be. The
// times are for docs/performance.md.
async function weigh(page, view) {
  const seen = await page.evaluate(() => {
    const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter(e => e.initiatorType !== "img");
    return { bytes: loaded.reduce((n, e) => n + e.decodedBodySize, 0), files: loaded.length, at: Math.max(...performance.getEntriesByType("paint").map(e => e.startTime)), last: Math.max(...loaded.map(e => e.responseEnd)) };
  });
  step(`  ${view}: ${seen.bytes} bytes in ${seen.files} files by ${seen.last.toFixed(0)} ms, painted at ${seen.at.toFixed(0)} ms`);
  if (seen.bytes < 10_000 || seen.bytes > 100_000) problems.push(`${view}: it has loaded ${seen.bytes} bytes`);
}

const texts = page => page.locator(".row .text").allTextContents();
const count = async (page, text) => (await texts(page)).filter(t => t.includes(text)).length;

// becomes waits until get returns what is wanted: what a page shows comes in several steps.
async function becomes(get, wanted) {
  let got;
  for (const end = Date.now() + patience; Date.now() < end; await new Promise(r => setTimeout(r, 50))) {
    got = await get();
    if (got === wanted) return;
  }
  assert.equal(got, wanted, `${get}`);
}

const step = what => console.log(what);

try {
  step("the administrator makes an account and a first channel");
  const ann = await person("ann");
  await ann.goto(link);
  await ann.locator("#channel").waitFor();
  await weigh(ann, "the way in");
  await check(ann, "first");
  await ann.fill("#channel", "#lobby");
  await ann.fill("#name", "ann");
  await ann.fill("#password", "correct horse");
  await ann.fill("#again", "correct horse");
  await ann.keyboard.press("Enter");
  await ann.locator("dialog.invite button", { hasText: "Make a link" }).click();
  await ann.locator(".qr").waitFor();
  await check(ann, "invite");
  const invitation = await ann.locator(".invitation input").inputValue();
  await ann.keyboard.press("Escape");

  step("somebody signs up by the invitation, on a phone");
  const at = new URL(link);
  const way = await wayTo(at.hostname, Number(at.port));
  const address = new URL(invitation);
  address.port = way.port;
  const bob = await person("bob", { viewport: { width: 390, height: 844 }, hasTouch: true, colorScheme: "dark" });
  await signUp(bob, address.href, "bob");
  await inChannel(bob, "#lobby");

  step("they talk");
  await say(bob, "Hello from the phone");
  await sees(ann, "Hello from the phone");
  await say(ann, "Hi **bob**! See `code`, _this_ and https://example.org/");
  await say(ann, "```\nfunc main() {\n\tprintln(\"two lines\")\n}\n```");
  await sees(bob, "two lines");
  await becomes(() => bob.locator(".row pre").count(), 1);
  await becomes(() => bob.locator(".row mark").textContent(), "bob");

  step("they reply and react");
  await tool(ann, "Hello from the phone", "Reply");
  await say(ann, "a reply");
  await bob.locator(".quoted", { hasText: "Hello from the phone" }).waitFor();
  await message(ann, "Hello from the phone").locator(".replies").click();
  await ann.locator("dialog.thread").waitFor();
  await ann.keyboard.type("within the thread");
  await ann.keyboard.press("Enter");
  await ann.locator(".thread .text", { hasText: "within the thread" }).waitFor();
  await becomes(() => ann.locator(".thread .row").count(), 3);
  await check(ann, "thread");
  await ann.keyboard.press("Escape");
  await sees(bob, "within the thread");
  await message(bob, "Hello from the phone").locator(".replies", { hasText: "2 replies" }).waitFor();
  await tool(ann, "Hello from the phone", "React 👍");
  await bob.locator(".reactions button").waitFor();
  await bob.locator(".reactions button").click();
  await ann.locator(".reactions button", { hasText: "2" }).waitFor();

  step("one sees the other type");
  while (!(await ann.locator(".typing").textContent()).includes("bob")) await bob.locator("#field").pressSequentially("x");
  await bob.fill("#field", "");

  step("by keyboard alone: another channel, a person, an emoji, the messages");
  await ann.keyboard.press("Control+k");
  await ann.keyboard.type("#keys");
  await ann.locator("dialog.switcher [role=option]").first().waitFor();
  await check(ann, "switcher");
  await ann.keyboard.press("Enter");
  await inChannel(ann, "#keys");
  await ann.keyboard.type(":rocket");
  await ann.locator("[role=option]").first().waitFor();
  await ann.keyboard.press("Tab");
  await ann.keyboard.press("Enter");
  await sees(ann, "🚀");
  await ann.locator(".waiting").waitFor({ state: "detached" });
  await ann.locator(".log").focus();
  await ann.keyboard.press("ArrowUp");
  await ann.keyboard.press("e");
  await ann.locator("dialog.picker").waitFor();
  await check(ann, "emoji");
  await ann.keyboard.type("tada");
  await ann.keyboard.press("Enter");
  await ann.locator(".reactions button", { hasText: "🎉" }).waitFor();
  await ann.keyboard.press("Alt+ArrowDown");
  await inChannel(ann, "#lobby");
  await ann.keyboard.type("@bo");
  await ann.keyboard.press("Tab");
  await ann.keyboard.type("have a look");
  await ann.keyboard.press("Enter");
  await sees(bob, "bob: have a look");

  step("they change what they said, and take it back, by keyboard alone");
  await ann.keyboard.type("a mistaek");
  await ann.keyboard.press("Enter");
  await sees(bob, "a mistaek");
  const spoken = () => bob.locator("[aria-live=polite]").textContent(); // by screen readers
  await becomes(spoken, "ann: a mistaek");
  await ann.keyboard.press("ArrowUp");
  await ann.locator(".about", { hasText: "changing" }).waitFor();
  await ann.keyboard.press("Control+a");
  await ann.keyboard.type("a mistake, mended");
  await ann.keyboard.press("Shift+Enter");
  await ann.keyboard.type("in two lines");
  await ann.keyboard.press("Enter");
  await message(bob, "a mistake, mended").locator(".edited").waitFor();
  await becomes(() => message(bob, "a mistake, mended").locator(".line").count(), 2);
  await becomes(() => count(bob, "a mistaek"), 0);
  await becomes(spoken, "ann: a mistake, mended\nin two lines");
  await ann.locator(".log").focus();
  await ann.keyboard.press("ArrowUp");
  await ann.keyboard.press("Delete");
  await ann.locator("dialog .danger").waitFor();
  await check(ann, "delete");
  await ann.keyboard.press("Tab");
  await ann.keyboard.press("Tab");
  await ann.keyboard.press("Enter");
  for (const page of [bob, ann]) {
    await page.locator(".text.gone").waitFor();
    await becomes(() => count(page, "mistake"), 0);
  }
  await becomes(spoken, "ann: This message was deleted.");

  step("they send a picture");
  const pixel = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
  await tabTo(ann, ann.locator("#field"));
  const chooser = await asksForFile(ann, ann.getByRole("button", { name: "Send a file" }), "Shift+Tab");
  await chooser.setFiles({ name: "a <b>.png", mimeType: "image/png", buffer: pixel });
  await ann.locator(".row img").waitFor();
  assert.equal(await ann.locator(".row img").getAttribute("alt"), "a <b>.png");
  await ann.waitForFunction(() => document.querySelector(".row img").naturalWidth === 1);

  step("the views look right");
  await check(ann, "light");
  await ann.emulateMedia({ colorScheme: "dark" });
  await check(ann, "dark");
  await ann.emulateMedia({ colorScheme: "light" });
  await check(bob, "phone");
  await bob.getByRole("button", { name: "Show conversations" }).click();
  await bob.locator(".side .goto").waitFor();
  await check(bob, "phone-conversations");
  await bob.locator(".side").getByRole("button", { name: "Close" }).click();
  await ann.keyboard.press("Control+,");
  await ann.locator("dialog.settings").waitFor();
  await check(ann, "settings");
  const theme = ann.locator("dialog.settings").getByLabel("Colours");
  for (const [key, name] of [["End", "dark"], ["Home", "auto"]]) {
    await tabTo(ann, theme);
    await ann.keyboard.press(key);
    await ann.locator(`html[data-theme=${name}]`).waitFor();
  }
  await ann.keyboard.press("Escape");
  await ann.keyboard.press("Control+f");
  await ann.keyboard.type("phone");
  await ann.keyboard.press("Enter");
  await ann.locator(".results button").first().waitFor();
  await check(ann, "search");
  await ann.locator(".results button").first().click();
  await ann.locator(".row.found").waitFor();

  step("one is away from the network: nothing is lost, nothing is there twice");
  await bob.evaluate(() => { window.notified = 0; window.Notification = class { constructor() { window.notified++; } static permission = "granted"; static requestPermission() { return Promise.resolve("granted"); } }; });
  await bob.getByRole("button", { name: "Show conversations" }).click();
  await bob.getByRole("button", { name: "Settings" }).click();
  await bob.getByRole("checkbox", { name: /Show notifications/ }).check();
  await bob.keyboard.press("Escape");
  await bob.locator(".side").getByRole("button", { name: "Close" }).click();
  way.cut();
  await bob.locator(".banner", { hasText: /lost|offline/i }).waitFor();
  for (let i = 0; i < 120; i++) await say(ann, `bob, you missed ${i}.`);
  await sees(ann, "you missed 119.");
  await say(bob, "typed in the tunnel");
  await sees(bob, "typed in the tunnel");
  await check(bob, "phone-offline");
  way.mend();
  await bob.locator(".banner button").click({ timeout: 1000 }).catch(() => {}); // it may have come back by itself
  await sees(bob, "you missed 119.");
  await sees(ann, "typed in the tunnel");
  await bob.locator(".waiting").waitFor({ state: "detached" });
  assert.equal(await count(ann, "typed in the tunnel"), 1);
  assert.equal(await bob.evaluate(() => window.notified), 0, "old lines make no notification");
  await bob.locator(".log").focus();
  const missed = new Set();
  for (let top = false; !top;) {
    for (const t of await texts(bob)) { const n = /you missed (\d+)\./.exec(t); if (n) missed.add(n[1]); }
    top = await bob.locator(".log").evaluate(log => { const was = log.scrollTop; log.scrollTop -= log.clientHeight / 2; return log.scrollTop === was; });
    await bob.evaluate(() => new Promise(requestAnimationFrame));
  }
  assert.equal(missed.size, 120, "all that was missed is there");

  step("what is read on one device is read on the other");
  const laptop = await person("bob's laptop");
  await laptop.goto(at.origin);
  await laptop.fill("#name", "bob");
  await laptop.fill("#password", "bob has a secret");
  await laptop.keyboard.press("Enter");
  await inChannel(laptop, "#lobby");
  await sees(laptop, "you missed 119.");
  const cold = await person("bob, with nothing kept", { storageState: await laptop.context().storageState() });
  await cold.goto(at.origin);
  await sees(cold, "you missed 119.");
  await weigh(cold, "the chat");
  await cold.context().close();
  await ann.keyboard.press("Escape");
  await say(ann, "for both of you");
  await sees(laptop, "for both of you");
  await laptop.locator("#field").focus();
  await bob.keyboard.press("Escape");

  for (const page of [bob, laptop]) {
    await page.keyboard.press("Control+k");
    await page.keyboard.type("#quiet");
    await page.locator("[role=option]", { hasText: "#quiet" }).first().waitFor();
    await page.keyboard.press("Enter");
    await inChannel(page, "#quiet");
  }
  await say(ann, "who reads this first?");
  for (const page of [bob, laptop]) await page.locator("[data-name='#lobby'] .badge").waitFor({ state: "attached" });
  await laptop.locator("[data-name='#lobby']").click();
  await sees(laptop, "who reads this first?");
  await bob.locator("[data-name='#lobby'] .badge").waitFor({ state: "detached" });
  await bob.keyboard.press("Alt+ArrowUp");
  await inChannel(bob, "#lobby");

  step("a conversation makes no noise any more, and is loud again");
  const bell = laptop.getByRole("button", { name: "No notifications" });
  await bell.click();
  await laptop.locator(".head [aria-pressed=true]").waitFor();
  await laptop.locator("[data-name='#lobby'].muted").waitFor();
  await bell.click();
  await laptop.locator(".head [aria-pressed=false]").waitFor();

  step("the administrator looks after people, channels and bans");
  await ann.getByRole("button", { name: "Settings" }).click();
  await ann.getByRole("button", { name: "Administration" }).click();
  await ann.locator(".rows li", { hasText: "bob" }).waitFor();
  await check(ann, "admin-people");
  const invites = laptop.locator(".head").getByRole("button", { name: "Invite people" });
  await ann.getByRole("button", { name: "Make an administrator: bob" }).click();
  await invites.waitFor();
  await ann.getByRole("button", { name: "No longer an administrator: bob" }).click();
  await invites.waitFor({ state: "hidden" });
  await ann.getByRole("button", { name: "No longer an administrator: ann" }).click();
  await ann.locator("dialog [role=alert]", { hasText: "last administrator" }).waitFor();
  await ann.getByRole("tab", { name: "People" }).focus();
  await ann.keyboard.press("ArrowRight");
  const days = ann.getByRole("spinbutton", { name: /#lobby/ });
  await days.fill("30");
  await days.press("Tab");
  await check(ann, "admin-channels");
  await ann.getByRole("tab", { name: "Bans" }).click();
  await ann.getByLabel("Who", { exact: true }).fill("198.51.100.0/24");
  await ann.getByLabel("Reason").fill("<img src=x onerror=window.pwned=1>");
  await ann.keyboard.press("Enter");
  await ann.locator(".rows li", { hasText: "198.51.100.0/24" }).waitFor();
  await check(ann, "admin-bans");
  await ann.getByRole("tab", { name: "Log" }).click();
  await ann.locator(".rows li", { hasText: "198.51.100.0/24" }).waitFor();
  await ann.locator(".rows li", { hasText: "30 days" }).waitFor();
  await check(ann, "admin-log");
  await ann.getByRole("tab", { name: "Server" }).click();
  await ann.locator(".rows li", { hasText: "Memory" }).waitFor();
  await ann.setViewportSize({ width: 390, height: 844 });
  await ann.emulateMedia({ colorScheme: "dark" });
  await check(ann, "admin-phone");
  await ann.emulateMedia({ colorScheme: "light" });
  await ann.setViewportSize({ width: 1200, height: 800 });
  await ann.keyboard.press("Escape");

  step("somebody looks after the own account");
  await laptop.getByRole("button", { name: "Settings" }).click();
  await laptop.getByRole("button", { name: "Devices" }).click();
  await laptop.locator(".rows li", { hasText: "this device" }).waitFor();
  await becomes(() => laptop.locator(".rows li").count(), 2);
  await laptop.getByLabel("Name of a program").fill("irssi");
  await laptop.keyboard.press("Enter");
  await laptop.locator(".made code").waitFor();
  await laptop.locator(".rows li", { hasText: "irssi" }).waitFor();
  await check(laptop, "devices");
  await laptop.keyboard.press("Escape");
  await laptop.getByRole("button", { name: "Settings" }).click();
  await laptop.getByRole("button", { name: "Password" }).click();
  await laptop.getByLabel("Your password now").fill("bob has a secret");
  await laptop.getByLabel("Choose a password").fill("bob has another");
  await laptop.getByLabel("The password again").fill("bob has another");
  await check(laptop, "password");
  await laptop.keyboard.press("Enter");
  await laptop.locator(".toast", { hasText: "changed" }).waitFor();
  await laptop.getByRole("button", { name: "Settings" }).click();
  await laptop.locator("dialog input[type=file]").setInputFiles({ name: "me.png", mimeType: "image/png", buffer: pixel });
  await laptop.locator(".me .avatar img").waitFor({ state: "attached" });
  await laptop.keyboard.press("Escape");
  await ann.locator(".members .avatar img").waitFor({ state: "attached" });

  step("what is hostile shows as text");
  const payloads = [
    "<script>window.pwned=1</script>", "<img src=x onerror=window.pwned=1>", "\"><svg onload=window.pwned=1>", "javascript:window.pwned=1",
    "[x](javascript:window.pwned=1)", "https://example.org/\"onmouseover=window.pwned=1", "{{constructor.constructor('window.pwned=1')()}}",
    "`<b>x</b>`", "**<i>x</i>**", "&lt;script&gt;", "\u202Egnp.exe", "\x03<script>window.pwned=1</script>", "<style>*{display:none}</style>", "<a href=data:text/html,x>x</a>", "</textarea><script>window.pwned=1</script>", "__proto__", "constructor",
  ];
  const [host, port] = irc.split(":");
  const mallory = net.connect(Number(port), host);
  mallory.setEncoding("utf8");
  let heard = "";
  mallory.on("data", d => { heard += d; for (const p of d.matchAll(/PING (\S+)/g)) mallory.write(`PONG ${p[1]}\r\n`); });
  mallory.write("CAP REQ :message-tags echo-message\r\nNICK mallory\r\nUSER x 0 * :<script>window.pwned=1</script>\r\nCAP END\r\nJOIN #lobby\r\n");
  for (const p of payloads) mallory.write(`PRIVMSG #lobby :${p}\r\nPRIVMSG #lobby :\x01ACTION ${p}\x01\r\n`);
  mallory.write(`@+draft/react=<img\\ssrc=x\\sonerror=window.pwned=1>;+reply=none TAGMSG #lobby\r\nPRIVMSG #lobby :the last of them\r\n`);
  await sees(ann, "the last of them");
  mallory.end(`QUIT :<script>window.pwned=1</script>\r\n`);
  await say(ann, "/topic <img src=x onerror=window.pwned=1>");
  await ann.locator(".topic", { hasText: "<img src=x" }).waitFor();
  assert.ok((await texts(ann)).some(t => t === "<script>window.pwned=1</script>"));
  await laptop.getByRole("button", { name: "Settings" }).click();
  await laptop.getByLabel("Name to show").fill("<img src=x onerror=window.pwned=1>");
  await laptop.keyboard.press("Enter");
  await ann.locator(".members .name", { hasText: "<img src=x" }).waitFor();
  await check(ann, "hostile");
  await ann.keyboard.press("Control+f");
  await ann.keyboard.type("pwned");
  await ann.keyboard.press("Enter");
  await ann.locator(".results button", { hasText: "<script>window.pwned=1</script>" }).first().waitFor();
  assert.equal(await ann.locator(".results script, .results img, .results svg").count(), 0);
  await check(ann, "hostile-search");
  await ann.locator("dialog.search").getByRole("button", { name: "Close" }).click();
  for (const page of [ann, bob, laptop]) {
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.deepEqual(await page.evaluate(() => window.violations), []);
    assert.equal(await page.locator(".log script, .log style, .log svg:not(.icon), .topic img, .log img:not([src^=http])").count(), 0);
  }

  step("50,000 messages: only what is seen is in the page");
  const rows = await laptop.evaluate(async () => {
    const { List } = await import("./list.js");
    const box = document.createElement("div");
    box.className = "log";
    box.style.height = "600px";
    document.body.append(box);
    const items = Array.from({ length: 50_000 }, (_, i) => ({ key: i }));
    const list = new List(box, { key: m => m.key, version: () => "", onTop() {}, onView() {}, row: m => { const e = document.createElement("div"); e.textContent = `row ${m.key}`; e.style.height = `${20 + m.key % 60}px`; return e; } });
    list.show(items, true);
    const seen = [], frames = [];
    const last = box.textContent.endsWith("row 49999");
    for (let i = 0; i < 200; i++) {
      box.scrollTop -= 500;
      frames.push(await new Promise(requestAnimationFrame));
      seen.push(box.querySelectorAll(".window > div").length);
    }
    const top = box.getBoundingClientRect();
    const filled = [...box.querySelectorAll(".window > div")].some(e => e.getBoundingClientRect().top <= top.top + 1) && [...box.querySelectorAll(".window > div")].some(e => e.getBoundingClientRect().bottom >= top.bottom - 1);
    box.remove();
    const lengths = frames.slice(1).map((t, i) => t - frames[i]).sort((a, b) => a - b);
    return { last, most: Math.max(...seen), filled, median: lengths[lengths.length >> 1], late: lengths[Math.floor(lengths.length * 0.95)] };
  });
  step(`  a frame each ${rows.median.toFixed(1)} ms, 95 of 100 within ${rows.late.toFixed(1)} ms`);
  assert.ok(rows.last && rows.filled && rows.most < 150, JSON.stringify(rows));

  step("without a network the page opens, and what is typed waits in it");
  await laptop.evaluate(() => navigator.serviceWorker.ready.then(() => fetch("site.json")));
  await laptop.context().setOffline(true);
  await laptop.reload();
  await laptop.locator(".banner", { hasText: "offline" }).waitFor();
  await check(laptop, "no-network");
  await laptop.context().setOffline(false);
  await inChannel(laptop, "#lobby");

  step("they sign out");
  await ann.getByRole("button", { name: "Settings" }).click();
  await ann.getByRole("button", { name: "Sign out" }).click();
  await ann.locator("#password").waitFor();
  await check(ann, "sign-in");
  assert.ok(!(await ann.evaluate(() => localStorage.getItem("epi-chat"))).includes("password"));
  way.close();
} catch (e) {
  let i = 0;
  for (const context of browser.contexts()) for (const page of context.pages()) await page.screenshot({ path: path.join(pictures, `failed${i++}.png`) }).catch(() => {});
  problems.push(e.stack);
}
await browser.close();
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log("ok");
