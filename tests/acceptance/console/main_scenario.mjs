// The console's main scenario: a clustered pool and a machine by the forms, bars and locks as they come and go, an abort,
// an event, and services that are killed in mid-stream. What the test has to do it is told on standard output.
import { createInterface } from "node:readline";
import { coveredTitles, go, openConsole, seriousFindings } from "./browser.mjs";

const { link, shots, heartbeat, repository, kernel } = JSON.parse(process.argv[2]);
const PATIENCE = { timeout: 60_000 };
const findings = [];
const said = {};
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** Has the test do something, and waits until it has. */
async function cue(what) {
  console.log(JSON.stringify({ cue: what }));
  if ((await answers.next()).done) throw new Error(`the test could not: ${what}`);
}

const { page, close } = await openConsole({ link });
page.setDefaultTimeout(PATIENCE.timeout);
const field = (path) => page.locator(`[id="field-${path}"]`);
const row = (name) => page.locator(`[role=treeitem][data-key="${name}"]`);
const lock = (name) => row(name).locator("[data-lock]");
const pane = page.getByRole("region", { name: "Job summary" });
const counter = async (label) => Number((await pane.locator(`[data-counter="${label}"] strong`).innerText()).replace(/\D/g, "") || 0);
const state = page.locator("button[data-state]");
const isLive = () => state.and(page.locator("[data-state=Live]")).waitFor();

/** Both themes and both widths: axe finds nothing serious, the page is not too wide, and a picture is kept. */
async function look(where, parts = ["body"]) {
  for (const [width, height] of [[1280, 900], [390, 844]]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme });
      findings.push(...(await seriousFindings(page, `${where}, ${colorScheme}, ${width}`, parts, colorScheme === "dark" ? "colours" : "everything")));
      await page.screenshot({ path: `${shots}/${where}-${width}-${colorScheme}.png` });
    }
    findings.push(...(await coveredTitles(page, `${where} at ${width}`)));
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) findings.push(`${where}: the page is ${over} pixels too wide at ${width}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}

/** What an operation's bar showed until the operation was over. */
async function follow(operation) {
  const seen = [];
  while ((await operation.count()) > 0) {
    const bar = operation.getByRole("progressbar");
    const value = await bar.getAttribute("aria-valuenow", { timeout: 500 }).catch(() => undefined);
    if (value !== undefined && value !== null) seen.push(Math.floor(Number(value)));
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
  return seen;
}

const underWay = (title) => pane.locator("[data-operation]").filter({ hasText: title });
const run = () => page.getByRole("button", { name: "Run", exact: true }).click();

try {
  await makePoolAndMachine();
  await watchAndAbort();
  await seeAnEvent();
  await surviveAKill();
} catch (error) {
  await page.screenshot({ path: `${shots}/console-failed.png` });
  throw error;
}
await close();
console.log(JSON.stringify({ findings, said }));

/** A clustered pool, a repository and a machine, each by its form. */
async function makePoolAndMachine() {
  await isLive();
  await row("servers/s1").waitFor();
  const servers = "servers=servers/s1,servers/s2";
  await go(page, `/run/CreateServerPool?server_pool_id=finance&${servers}&server_pool.clustered=true&heartbeat_device.path=${encodeURIComponent(heartbeat)}&heartbeat_device.io_timeout_seconds=1`);
  await page.getByRole("button", { name: "Preview" }).click();
  await page.getByRole("region", { name: "Plan" }).getByText("Create Cluster Heartbeat Device").first().waitFor();
  await run();
  await row("serverPools/finance").waitFor();
  await row("servers/s1").and(page.locator("[aria-level='3']")).waitFor();

  // A repository and a machine.
  await go(page, `/run/CreateRepository?repository_id=disks&server_pool=serverPools/finance&repository.server_pool=serverPools/finance&repository.path=${encodeURIComponent(repository)}`);
  await run();
  await row("repositories/disks").waitFor();
  await go(page, "/run/CreateVirtualMachine?virtual_machine_id=web&virtual_machine.server_pool=serverPools/finance&virtual_machine.cpus=1");
  await field("virtual_machine.memory_bytes").fill("64M");
  await run();
  await row("virtualMachines/web").waitFor();
}

/** The bar moves; the yellow lock comes and goes, and says who holds it and why; what is under way is aborted. */
async function watchAndAbort() {
  await go(page, "/objects/virtualMachines/web");
  await page.getByRole("heading", { name: "web", exact: true }).waitFor();
  const kill = page.locator("[data-operation-type=KillVirtualMachine][aria-disabled]");
  await kill.focus();
  await kill.and(page.locator("[aria-description]")).waitFor();
  said.whyNot = await kill.getAttribute("aria-description");
  await cue("slow");
  await page.locator("[data-operation-type=StartVirtualMachine]").click();
  await run();
  const start = underWay("Start Virtual Machine");
  await start.waitFor();
  await lock("virtualMachines/web").waitFor();
  said.lock = await lock("virtualMachines/web").getAttribute("aria-label");
  await lock("virtualMachines/web").hover({ force: true });
  said.lockWords = await page.getByRole("tooltip").first().innerText();
  await start.waitFor({ state: "detached" });
  await go(page, "/objects/virtualMachines/web");
  await lock("virtualMachines/web").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Console", exact: true }).waitFor();
  await go(page, "/run/RestartVirtualMachine?object=virtualMachines/web");
  await run();
  const restart = underWay("Restart Virtual Machine");
  await restart.waitFor();
  said.bars = await follow(restart);

  // Abort one.
  await cue("stuck");
  await go(page, "/run/StopVirtualMachine?object=virtualMachines/web");
  await run();
  const stop = underWay("Stop Virtual Machine");
  await stop.waitFor();
  await go(page, "/objects/virtualMachines/web");
  await lock("virtualMachines/web").waitFor();
  await look("console-running");
  await stop.getByRole("button", { name: /^Abort/ }).click();
  const dialog = page.getByRole("dialog", { name: /^Abort/ });
  await dialog.getByLabel("Why").fill("the wrong machine");
  said.noted = await page.getByRole("button", { name: /^Close the note about/ }).count();
  await look("console-abort", ["[role=dialog]"]);
  await dialog.getByRole("button", { name: "Abort", exact: true }).click();
  await stop.waitFor({ state: "detached" });
  await pane.locator('[data-counter="Aborted"] strong').filter({ hasText: /[1-9]/ }).waitFor(); // a subscription of its own
  said.aborted = await counter("Aborted");
}

/** A job fails: the badge of its event stands beside the object, and in the header. */
async function seeAnEvent() {
  await cue("event");
  await go(page, "/");
  await row("virtualMachines/web").locator("[data-severity]").waitFor();
  await page.getByRole("link", { name: /open event/ }).waitFor();
  await look("console-overview");
}

/** The services are killed in mid-stream: not live, then live again, with what has happened meanwhile. */
async function surviveAKill() {
  await cue("kill");
  await page.locator("button[data-state='Not live']").waitFor();
  await page.getByText(/What is shown may be old/).first().waitFor();
  await page.screenshot({ path: `${shots}/console-not-live.png` });
  await cue("change");
  await isLive();
  await row("virtualMachines/behind-its-back").waitFor();
  said.after = await page.getByText(/What is shown may be old/).count();
}
