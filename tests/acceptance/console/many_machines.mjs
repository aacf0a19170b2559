// Scrolls through the navigation tree while machines change, and says what that cost the page.
import { createInterface } from "node:readline";
import { openConsole } from "./browser.mjs";

const { link, machines, changed } = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { page, close } = await openConsole({ link });
page.setDefaultTimeout(120_000);
await page.evaluate(() => {
  window.longTasks = [];
  new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
});

const tree = page.getByRole("tree", { name: "Site" });
const group = tree.locator('[data-key^="rest of "]');
await group.getByText(String(machines), { exact: true }).waitFor();
// A group with so many below it is closed at first.
await group.locator("[aria-hidden]").first().click();
await tree.locator(`[aria-setsize="${machines}"]`).first().waitFor();

/** What the page did while something was done: tasks of more than 50 ms, and elements that came and went. */
async function cost(doing) {
  await page.evaluate(() => new Promise((resolve) => requestIdleCallback(resolve)));
  await page.evaluate(() => {
    window.longTasks.length = 0;
    window.added = 0;
    window.watcher = new MutationObserver((records) => records.forEach((record) => (window.added += record.addedNodes.length)));
    window.watcher.observe(document.querySelector("[role=tree]"), { childList: true, subtree: true });
  });
  await doing();
  return page.evaluate(() => {
    window.watcher.disconnect();
    const tasks = window.longTasks;
    return { tasks: tasks.length, blocked: tasks.reduce((sum, each) => sum + each, 0), longest: Math.max(0, ...tasks), added: window.added };
  });
}

/** Scrolls down and up by screens, one step a frame, 40 steps each time. */
async function scroll(times) {
  await tree.evaluate(async (element, steps) => {
    element.scrollTo(0, 600);
    for (let step = 0; step < steps; step += 1) {
      element.scrollBy(0, step % 40 < 20 ? 90 : -90);
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  }, times * 40);
}

/** Has machines changed, and waits until the tree shows the last change. */
async function change() {
  console.log(JSON.stringify({ cue: "change" }));
  await tree.evaluate((element) => element.scrollTo(0, 0));
  await tree.getByText(changed).waitFor();
  await answers.next();
}

await scroll(1);
const scrolling = await cost(() => scroll(2));
const elements = await tree.evaluate((element) => element.querySelectorAll("*").length);
const changing = await cost(change);
// To the very end by one key: the last machine is there, and the tree is still as small.
await tree.press("End");
await tree.locator('[data-key="networks"]').waitFor();
const said = { scrolling, changing, elements, atEnd: await tree.evaluate((element) => element.querySelectorAll("*").length) };
await close();
console.log(JSON.stringify({ findings: [], said }));
