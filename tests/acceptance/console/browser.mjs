// A real Chromium on the console: signed in by a link, with axe at hand, and loud about errors of the page.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const web = createRequire(new URL("../../../clients/web/package.json", import.meta.url));
const { chromium } = web("playwright-core");
const AXE = readFileSync(web.resolve("axe-core/axe.min.js"), "utf8");

/** The Chromium of this machine: one that is named, a package's, or playwright's own; undefined if there is none. */
export function findChromium() {
  const places = [process.env.VIRTYARD_CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome", chromium.executablePath()];
  return places.find((place) => place && existsSync(place));
}

/** Opens the console in a browser of its own; `close` ends it, and throws what the page complained of meanwhile. */
export async function openConsole({ link, width = 1280, height = 900, colorScheme = "light" }) {
  const browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy/.test(message.text())) complaints.push(message.text());
  });
  // The policy of the page lets in no script but its own; what the test brings is run past it.
  await page.goto(link);
  const close = async () => {
    await browser.close();
    if (complaints.length > 0) throw new Error(complaints.join("\n"));
  };
  return { browser, context, page, close };
}

/** The processes that draw pages in the browsers that this process has opened. */
export function renderers() {
  const parents = new Map();
  const drawing = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number)) {
    try {
      // Behind the program's name, which may hold blanks and brackets, come the state and the parent.
      const told = readFileSync(`/proc/${pid}/stat`, "utf8");
      parents.set(pid, Number(told.slice(told.lastIndexOf(")")).split(" ")[2]));
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer")) drawing.push(pid);
    } catch {
      // It has ended meanwhile.
    }
  }
  const isOurs = (pid) => pid === process.pid || (parents.has(pid) && isOurs(parents.get(pid)));
  return drawing.filter(isOurs);
}

/** Stops processes, does something meanwhile, and has them go on, whatever came of it. */
export async function whileStopped(pids, doing) {
  try {
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    await doing();
  } finally {
    for (const pid of pids) process.kill(pid, "SIGCONT");
  }
}

/** Goes to another screen of the console without loading the page anew. */
export async function go(page, path) {
  await page.evaluate((to) => {
    history.pushState({}, "", to);
    dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  }, path);
}

/** Waits until nothing that ends by itself moves: colours on their way to another theme, or a dialog's, are nobody's. */
export async function settled(page) {
  await page.evaluate(async () => {
    const drawn = () => new Promise(requestAnimationFrame);
    const moving = () => document.getAnimations().filter((each) => each.playState === "running" && each.effect?.getComputedTiming().endTime !== Infinity);
    // What is about to move is asked for in one frame, and begins in a later one.
    for (let still = 0, frames = 0; still < 4 && frames < 600; still += 1, frames += 1) {
      await drawn();
      for (const each of moving()) {
        each.finish();
        still = 0;
      }
    }
  });
}

/** The titles of dialogs in which something else lies at some place, a line each. */
export async function coveredTitles(page, where) {
  await settled(page);
  const titles = await page.locator("[role=dialog] h2").evaluateAll((found) =>
    found
      .filter((title) => {
        const { left, right, top, bottom } = title.getBoundingClientRect();
        return [left + 1, (left + right) / 2, right - 1].some((x) => !title.contains(document.elementFromPoint(x, (top + bottom) / 2)));
      })
      .map((title) => title.innerText),
  );
  return titles.map((title) => `${where}: the title "${title}" is covered`);
}

const COLOURS = ["color-contrast", "link-in-text-block"];
const EVERYTHING = { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] };

/**
 * What axe finds in the parts of a page, the screen itself if none are named, that is serious or critical, a line each.
 * Each look is dear: a page that was looked at in one theme differs in the other by its `colours` only, and a page made
 * of widgets that were looked at elsewhere need be looked at for its `structure` only.
 */
export async function seriousFindings(page, where, parts = ["main"], aspect = "everything") {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  await settled(page);
  const { violations } = await page.evaluate(
    ({ include, runOnly, rules }) =>
      window.axe.run(
        { include },
        {
          preload: false,
          resultTypes: ["violations"],
          rules,
          runOnly,
        },
      ),
    {
      include: parts.map((part) => [part]),
      runOnly: aspect === "colours" ? { type: "rule", values: COLOURS } : EVERYTHING,
      rules: aspect === "structure" ? Object.fromEntries(COLOURS.map((rule) => [rule, { enabled: false }])) : {},
    },
  );
  return violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .flatMap((violation) => violation.nodes.map((node) => `${where}: ${violation.id}: ${node.target.join(" ")}: ${node.failureSummary.split("\n")[1]?.trim()}`));
}
