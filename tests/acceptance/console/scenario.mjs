// What a file of scenarios is played with: what the test told it, what it says to the test, and how it looks at a screen.
import { createInterface } from "node:readline";
import { openConsole, seriousFindings, settled } from "./browser.mjs";

export const asked = JSON.parse(process.argv[2]);
export const findings = [];
export const said = {};

/** The page of the browser that scenarios are played in. */
export let page;

/** Tells the test that it may go on with what it waits to do. */
export const cue = (name) => console.log(JSON.stringify({ cue: name }));

/** Has the test do something, and waits until it has. */
export async function have(what) {
  cue(what);
  if ((await lines().next()).done) throw new Error(`the test could not: ${what}`);
}

let read;
function lines() {
  read ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  return read;
}

/** The last part of a name, as 12 of operations/12. */
export const id = (name) => name.slice(name.indexOf("/") + 1);

/** Plays the scenario that the test asked for, in a browser of its own; says what it saw. */
export async function play(scenarios) {
  const opened = await openConsole({ link: asked.link });
  page = opened.page;
  try {
    await scenarios[asked.scenario](page);
  } catch (error) {
    await page.screenshot({ path: `${asked.shots}/${asked.scenario}-failed.png` });
    throw error;
  }
  await opened.close();
  read?.return();
  console.log(JSON.stringify({ findings, said }));
}

/** Reads on until a text is there that depends on what is counted elsewhere, as both may change meanwhile. */
export async function until(condition) {
  const deadline = Date.now() + 90_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in time: ${condition}`);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

/** Chooses in a widget of a search by the keyboard alone: opens it, types what it begins with or goes down to it, and takes it. */
export async function choose(search, label, option) {
  const widget = page.getByRole("search", { name: search }).getByRole("combobox", { name: label, exact: true });
  await widget.focus();
  // One that can be searched opens as it is come to, and forgets in a turn of its own what was gone down to: keys come after that.
  await page.evaluate(() => new Promise((over) => setTimeout(over)));
  await page.keyboard.press("ArrowDown");
  const wanted = page.getByRole("option", { name: option, exact: true });
  await wanted.waitFor();
  await until(async () => {
    if ((await wanted.getAttribute("data-combobox-selected")) !== null) return true;
    await page.keyboard.press("ArrowDown");
    return false;
  });
  await page.keyboard.press("Enter");
  await wanted.waitFor({ state: "detached" });
}

const LOOKS = [[1280, "light"], [1280, "dark"], [390, "light"]];
/** How a screen is looked at that is not there at the narrow width. */
export const WIDE = LOOKS.slice(0, 2);

/**
 * Takes pictures of a screen in both widths and themes, sees that it fits, and lets axe look at both themes; at the narrow
 * width too where it `differs` there.
 */
export async function look(page, name, parts, differs = false, looks = LOOKS) {
  for (const [width, scheme] of looks) {
    await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await settled(page);
    await page.screenshot({ path: `${asked.shots}/${name}-${width}-${scheme}.png` });
    if (width > 390 || differs) findings.push(...(await seriousFindings(page, `${name} at ${width} in ${scheme}`, parts, scheme === "dark" ? "colours" : "everything")));
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) findings.push(`${name} at ${width}: the page is ${over} pixels too wide`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
}
