// Scrolls through a list of a hundred jobs and through one of very many, and says how long the page was blocked by each.
import { go, openConsole } from "./browser.mjs";

const { link, few, rows } = JSON.parse(process.argv[2]);
const { page, close } = await openConsole({ link });
page.setDefaultTimeout(60_000);
await page.evaluate(() => {
  window.longTasks = [];
  new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
});

const grid = page.getByRole("treegrid", { name: "Operations and jobs" });
const rowCount = async () => Number(await grid.getAttribute("aria-rowcount")) - 1;

/** Opens a list with all jobs shown, and reads on until it has so many rows. */
async function open(path, wanted) {
  await go(page, path);
  await grid.waitFor();
  const shown = page.getByLabel("Show jobs");
  if (!(await shown.isChecked())) await shown.check({ force: true });
  const deadline = Date.now() + 200_000;
  while ((await rowCount()) < wanted) {
    if (Date.now() > deadline) throw new Error(`${await rowCount()} of ${wanted} rows came in time`);
    await grid.evaluate((element) => element.scrollTo(0, element.scrollHeight));
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 30))));
  }
}

/** Scrolls up and down by screens, one a frame, and returns what that cost. */
async function scroll() {
  await grid.evaluate((element) => element.scrollTo(0, element.scrollHeight / 3));
  await page.evaluate(() => new Promise((resolve) => requestIdleCallback(resolve)));
  const from = await page.evaluate(() => window.longTasks.length);
  await grid.evaluate(async (element) => {
    for (let step = 0; step < 120; step += 1) {
      element.scrollBy(0, step % 40 < 20 ? 120 : -120);
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  });
  const tasks = await page.evaluate((first) => window.longTasks.slice(first), from);
  return {
    rows: await rowCount(),
    tasks: tasks.length,
    blocked: tasks.reduce((sum, each) => sum + each, 0),
    longest: Math.max(0, ...tasks),
    elements: await grid.evaluate((element) => element.querySelectorAll("*").length),
  };
}

await open(`/jobs?object=${encodeURIComponent(few)}`, 100);
await scroll();
const small = await scroll();
const began = Date.now();
await open("/jobs", rows);
const loaded = Date.now() - began;
const loading = await page.evaluate(() => Math.max(0, ...window.longTasks));
const large = await scroll();
await close();
console.log(JSON.stringify({ findings: [], said: { few: small, many: large, loaded, loading } }));
