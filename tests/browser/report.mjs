// Opens a report in a browser and does what a person would. Prints what it has seen, as JSON.
//
// node report.mjs PLAYWRIGHT CHROMIUM PAGE FOLDER: screenshots go to FOLDER.

import path from "node:path";
import { pathToFileURL } from "node:url";

const [playwright, chromium, page, folder] = process.argv.slice(2);
const { chromium: browserType } = await import(pathToFileURL(path.join(playwright, "index.mjs")).href);

// On a busy machine a browser takes its time.
const PATIENCE = 120_000;

const browser = await browserType.launch({
  timeout: PATIENCE,
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const seen = { errors: [], requests: [] };

async function open(width, scheme) {
  const tab = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: scheme });
  tab.setDefaultTimeout(PATIENCE);
  tab.on("pageerror", (error) => seen.errors.push(error.message));
  tab.on("console", (message) => { if (message.type() === "error") seen.errors.push(message.text()); });
  tab.on("request", (request) => { if (!request.url().startsWith("file:")) seen.requests.push(request.url()); });
  const begin = performance.now();
  await tab.goto(pathToFileURL(page).href, { waitUntil: "load" });
  seen.opened_ms = performance.now() - begin;
  return tab;
}

const texts = (tab, selector) => tab.locator(selector).allTextContents();
const column = (tab, nth) => texts(tab, `#failures-table tbody tr td:nth-child(${nth})`);

const tab = await open(1280, "light");
seen.title = await tab.title();
seen.verdict = await tab.textContent("#verdict");
seen.numbers = Object.fromEntries(await tab.$$eval("#numbers dd > span", (spans) => spans.map((span) => [span.id, span.textContent])));
seen.details = await texts(tab, "#failures-table pre");

// Failures: sorted by a click, and by the keyboard; searched.
seen.as_they_came = await column(tab, 1);
await tab.click("#failures-table th:nth-child(8) button");
seen.by_time = await column(tab, 1);
await tab.focus("#failures-table th:nth-child(1) button");
await tab.keyboard.press("Enter");
await tab.keyboard.press("Enter");
seen.last_first = await column(tab, 1);
seen.sorted = await tab.getAttribute("#failures-table th:nth-child(1)", "aria-sort");
await tab.fill("#search", "needle");
seen.found = await column(tab, 1);
await tab.fill("#search", "");
await tab.selectOption("#kind", "crash");
seen.crashed = await column(tab, 1);
await tab.selectOption("#kind", "");

// The timeline: zoomed by a button, by keys and by the pointer.
seen.timeline = await tab.getAttribute("#timeline", "aria-label");
seen.ranges = [await tab.textContent("#range")];
await tab.click("#zoom-in");
seen.ranges.push(await tab.textContent("#range"));
await tab.focus("#timeline");
for (const key of ["+", "ArrowRight"]) await tab.keyboard.press(key);
seen.ranges.push(await tab.textContent("#range"));
await tab.keyboard.press("0");
seen.ranges.push(await tab.textContent("#range"));
const box = await tab.locator("#timeline").boundingBox();
await tab.mouse.move(box.x + box.width * 0.3, box.y + 8);
await tab.mouse.down();
await tab.mouse.move(box.x + box.width * 0.5, box.y + 8, { steps: 3 });
await tab.mouse.up();
seen.ranges.push(await tab.textContent("#range"));
await tab.click("#whole");
seen.reasons = await texts(tab, "#reasons-table tbody tr");
await tab.click("#workers-summary");
// The table is made when the browser says that the details are open.
await tab.waitForSelector("#workers-table tbody tr");
seen.workers = await tab.locator("#workers-table tbody tr").count();
seen.names = await tab.$$eval("button, select, input, canvas, svg[role=img]", (elements) =>
  elements.filter((element) => !(element.getAttribute("aria-label") || element.textContent.trim() || element.closest("label"))).map((element) => element.id));

seen.overflow = [];
for (const [width, scheme] of [[1280, "light"], [390, "light"], [1280, "dark"]]) {
  const other = await open(width, scheme);
  await other.screenshot({ path: path.join(folder, `${width}-${scheme}.png`), fullPage: true });
  seen.overflow.push(await other.evaluate(() => document.documentElement.scrollWidth - innerWidth));
  seen[`background_${scheme}`] = await other.evaluate(() => getComputedStyle(document.body).backgroundColor);
}
await browser.close();
console.log(JSON.stringify(seen));
