// Scrolls through the navigation tree while machines change, and says what that cost the page.
import { createInterface } from "node:readline";
import { openConsole } from "./browser.mjs";
import { measuring } from "./cost.mjs";

const { link, machines, changed } = JSON.parse(process.argv[2]);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { page, close } = await openConsole({ link });
page.setDefaultTimeout(120_000);

const tree = page.getByRole("tree", { name: "Site" });
const group = tree.locator('[data-key^="rest of "]');
await group.getByText(String(machines), { exact: true }).waitFor();
// A group with so many below it is closed at first.
await group.locator("[aria-hidden]").first().click();
await tree.locator(`[aria-setsize="${machines}"]`).first().waitFor();

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
  if ((await answers.next()).done) throw new Error("the test could not");
}

const cost = await measuring(page, "[role=tree]");
await scroll(1);
const scrolling = await cost(() => scroll(2));
const elements = await tree.evaluate((element) => element.querySelectorAll("*").length);
const changing = await cost(change, 1);
// To the very end by one key: the last machine is there, and the tree is still as small.
await tree.press("End");
await tree.locator('[data-key="networks"]').waitFor();
const said = { scrolling, changing, elements, atEnd: await tree.evaluate((element) => element.querySelectorAll("*").length) };
await close();
console.log(JSON.stringify({ findings: [], said }));
