// Pages of objects: their buttons, tabs and lists; the tree by its keys; and a page that sleeps while things change.
import { createInterface } from "node:readline";
import { go, openConsole, renderers, seriousFindings, whileStopped } from "./browser.mjs";

const { link, shots } = JSON.parse(process.argv[2]);
const { page, close } = await openConsole({ link });
/** So long a page is stopped: more than the 16 s after which a silent stream is given up by a page that returns. */
const STOPPED_MS = 17_000;
const findings = [];
const said = { previews: [] };
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** Has the test do something, and waits until it has. */
async function cue(what) {
  console.log(JSON.stringify({ cue: what }));
  if ((await answers.next()).done) throw new Error(`the test could not: ${what}`);
}

const tree = page.getByRole("tree", { name: "Site" });
const heading = (name) => page.getByRole("heading", { name, exact: true }).waitFor();
const operation = (type) => page.locator(`[data-operation-type=${type}]`);
page.on("request", (request) => {
  const called = /OperationService\/(\w+)$/.exec(request.url());
  if (called) said.previews.push(called[1]);
});

try {
  await seeButtons();
  await seeTabs();
  await seeCollections();
  await useKeys();
  await sleep();
  await standStill();
} catch (error) {
  await page.screenshot({ path: `${shots}/object-pages-failed.png` });
  throw error;
}
await close();
console.log(JSON.stringify({ findings, said }));

/** In both themes, and on a phone: axe finds nothing serious. */
async function look(where) {
  findings.push(...(await seriousFindings(page, where)));
  await page.emulateMedia({ colorScheme: "dark" });
  findings.push(...(await seriousFindings(page, `${where} in dark`, ["main"], "colours")));
  await page.screenshot({ path: `${shots}/${where}-dark.png` });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 390, height: 844 });
  findings.push(...(await seriousFindings(page, `${where} on a phone`, ["main"], "structure")));
  await page.screenshot({ path: `${shots}/${where}-390.png` });
  await page.setViewportSize({ width: 1280, height: 900 });
}

/** What is allowed can be done at once; why the rest is not is asked for by who stands on it. */
async function seeButtons() {
  await go(page, "/objects/virtualMachines/web");
  await heading("web");
  await operation("StopVirtualMachine").and(page.locator(":not([aria-disabled])")).waitFor();
  const start = operation("StartVirtualMachine").and(page.locator("[aria-disabled]"));
  await start.waitFor();
  said.asked = [...said.previews];
  await start.focus();
  said.start = await reason(start);
  said.told = await page.locator("main [role=status]", { hasText: said.start }).count();
  await page.keyboard.press("Enter");
  said.address = await page.evaluate(() => location.pathname);
  const plug = operation("AddVnic");
  await plug.hover();
  said.plug = await reason(plug);
  said.askedThen = [...said.previews];
}

async function reason(button) {
  await button.and(page.locator("[aria-description]")).waitFor();
  return button.getAttribute("aria-description");
}

/** The jobs, the events and the locks of an object. */
async function seeTabs() {
  for (const [name, tab] of [["virtualMachines/web", "Jobs"], ["virtualMachines/web", "Events"], ["networks/lan", "Locks"]]) {
    await go(page, `/objects/${name}`);
    await heading(name.split("/")[1]);
    await page.getByRole("tab", { name: tab }).click();
    const list = page.getByRole("list", { name: tab, exact: true });
    await list.getByRole("listitem").first().waitFor();
    said[tab] = await list.innerText();
    await look(`object-${tab.toLowerCase()}`);
  }
}

/** All objects of a kind, and those of them that a search leaves. */
async function seeCollections() {
  said.collections = {};
  for (const [collection, title] of Object.entries({ serverPools: "Server pools", servers: "Servers", virtualMachines: "Virtual machines", repositories: "Repositories", networks: "Networks" })) {
    await go(page, `/objects/${collection}`);
    await heading(title);
    const grid = page.getByRole("grid", { name: title });
    await grid.getByRole("row").nth(1).waitFor();
    said.collections[collection] = await grid.innerText();
    await look(`all-${collection}`);
  }
  await go(page, "/objects/virtualMachines");
  await page.getByLabel("Search virtual machines").fill("stil");
  await page.getByRole("grid", { name: "Virtual machines" }).and(page.locator("[aria-rowcount='2']")).waitFor();
}

/** Waits until the keys act on the row of this key. */
async function isActive(key) {
  await page.waitForFunction((wanted) => {
    const active = document.querySelector("[role=tree]").getAttribute("aria-activedescendant");
    return document.getElementById(active)?.dataset.key === wanted;
  }, key);
}

/** To both ends, by letters, closed and opened, to a page; who stands on a row still does when others come and go. */
async function useKeys() {
  await go(page, "/");
  await tree.focus();
  const rows = { End: "networks/lan", Home: "pools", ArrowDown: "serverPools/pool" };
  for (const [key, active] of Object.entries(rows)) {
    await page.keyboard.press(key);
    await isActive(active);
  }
  const pool = tree.locator('[data-key="serverPools/pool"]');
  await page.keyboard.press("ArrowLeft");
  await pool.and(page.locator("[aria-expanded=false]")).waitFor();
  await page.keyboard.press("ArrowRight");
  await pool.and(page.locator("[aria-expanded=true]")).waitFor();
  await page.keyboard.type("st");
  await isActive("virtualMachines/still");
  await page.keyboard.press("Enter");
  await heading("still");
  await cue("come");
  await tree.locator('[data-key="virtualMachines/another"]').waitFor();
  await isActive("virtualMachines/still");
  said.selected = await tree.locator("[aria-selected=true]").getAttribute("data-key");
  said.focused = await page.evaluate(() => document.activeElement.getAttribute("role"));
  await page.keyboard.press("ArrowUp");
  await isActive("virtualMachines/another");
  await cue("go");
  await tree.locator('[data-key="virtualMachines/another"]').waitFor({ state: "detached" });
  await isActive("virtualMachines/still");
}

/** The page is frozen as that of a laptop that sleeps, and cut off; when it wakes it shows what happened meanwhile. */
async function sleep() {
  const devtools = await page.context().newCDPSession(page);
  await page.evaluate(() => (window.sameDocument = true));
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  await page.context().setOffline(true);
  await cue("asleep");
  await page.context().setOffline(false);
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await tree.getByText("Renamed in its sleep").waitFor();
  await page.locator("button[data-state=Live]").waitFor();
  said.sameDocument = await page.evaluate(() => window.sameDocument === true);
}

/** The process that draws the page is stopped for longer than a stream may be silent; when it goes on, so does the page. */
async function standStill() {
  const stopped = renderers();
  said.stopped = stopped.length;
  await whileStopped(stopped, async () => {
    const over = Date.now() + STOPPED_MS;
    await cue("stopped");
    // What is tried here is the length of the gap itself; there is nothing else to wait for.
    while (Date.now() < over) await new Promise((resolve) => setTimeout(resolve, over - Date.now()));
  });
  await tree.getByText("Renamed while it stood still").waitFor();
  await page.locator("button[data-state=Live]").waitFor();
  said.sameDocument &&= await page.evaluate(() => window.sameDocument === true);
}
