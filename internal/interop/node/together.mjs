// Somebody in the chat's page, in a conversation with somebody at another client. It
// writes what it has seen or done, and goes on when a line comes in.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [link, executablePath] = process.argv.slice(2);
const patience = Number(process.env.PATIENCE ?? 120_000); // the machine may be slow
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: patience });
const page = await browser.newPage();
page.setDefaultTimeout(patience);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const done = async what => { console.log(what); await lines.next(); };

const row = text => page.locator(".row", { has: page.locator(".text", { hasText: text }) }).last();
const type = async text => { await page.locator("#field").focus(); await page.keyboard.type(text); };
async function press(text, name) {
  await row(text).hover();
  await row(text).getByRole("button", { name, exact: true }).click();
}

await page.goto(link);
await page.fill("#channel", "#room");
await page.fill("#name", "ann");
await page.fill("#password", "correct horse");
await page.fill("#again", "correct horse");
await page.keyboard.press("Enter");
await page.locator("dialog.invite").waitFor();
await page.keyboard.press("Escape");
await page.locator(".head h1", { hasText: "#room" }).waitFor();
await done("joined");

await type("two lines:");
await page.keyboard.press("Shift+Enter");
await type("the second");
await page.keyboard.press("Enter");
await row("the second").waitFor();
assert.equal(await row("the second").locator(".line").count(), 2);
await done("said two lines");

await row("hello from the terminal").waitFor();
await row("waves from the terminal").locator(".action").waitFor();
await press("hello from the terminal", "Reply");
await type("an answer");
await page.keyboard.press("Enter");
await row("an answer").locator(".quoted", { hasText: "hello from the terminal" }).waitFor();
await done("answered");

await type("/me nods");
await page.keyboard.press("Enter");
await row("nods").locator(".action").waitFor();
await press("an answer", "Edit");
await page.fill("#field", "a better answer");
await page.keyboard.press("Enter");
await row("a better answer").locator(".edited").waitFor();
await done("edited");

await press("a better answer", "Delete");
await page.locator("dialog .danger").click();
await page.locator(".text.gone").waitFor();
assert.equal(await page.locator(".text", { hasText: "better answer" }).count(), 0);
await done("deleted");

await row("the last word").waitFor();
await done("seen all");
await browser.close();
