// Scrolls through a list of a hundred jobs and through one of very many, and says what each cost the page.
import { go, openConsole } from "./browser.mjs";
import { measuring } from "./cost.mjs";

const { link, few, rows } = JSON.parse(process.argv[2]);
const { page, close } = await openConsole({ link });
page.setDefaultTimeout(60_000);

const grid = page.getByRole("treegrid", { name: "Operations and jobs" });
const rowCount = async () => Number(await grid.getAttribute("aria-rowcount")) - 1;

/** Opens a list with all jobs shown, and reads on until it has so many rows. */
async function open(path, wanted) {
  await go(page, path);
  await grid.waitFor();
  const shown = page.getByLabel("Show jobs");
  if (!(await shown.isChecked())) await shown.check({ force: true });
  const deadline = Date.now() + 100_000 + 10 * wanted;
  while ((await rowCount()) < wanted) {
    if (Date.now() > deadline) throw new Error(`${await rowCount()} of ${wanted} rows came in time`);
    await grid.evaluate((element) => element.scrollTo(0, element.scrollHeight));
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 30))));
  }
}

/** Scrolls up and down by screens, one step a frame. */
async function scroll() {
  await grid.evaluate(async (element) => {
    element.scrollTo(0, element.scrollHeight / 3);
    for (let step = 0; step < 120; step += 1) {
      element.scrollBy(0, step % 40 < 20 ? 120 : -120);
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  });
}

async function measure(cost) {
  await scroll();
  return { ...(await cost(scroll)), rows: await rowCount(), elements: await grid.evaluate((element) => element.querySelectorAll("*").length) };
}

await open(`/jobs?object=${encodeURIComponent(few)}`, 100);
const cost = await measuring(page, "[role=treegrid]");
const small = await measure(cost);
const began = Date.now();
await open("/jobs", rows);
const loaded = Date.now() - began;
const loading = await page.evaluate(() => Math.max(0, ...window.longTasks));
const large = await measure(cost);
await close();
console.log(JSON.stringify({ findings: [], said: { few: small, many: large, loaded, loading } }));
