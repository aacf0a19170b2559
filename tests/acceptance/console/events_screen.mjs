// The screen of events by the keyboard: narrowed by each of its fields, saved, its archive, acknowledged, by force too, and
// cleared by itself.
import { readFile } from "node:fs/promises";
import { go } from "./browser.mjs";
import { asked, choose, have, look, page, play, said, until } from "./scenario.mjs";

const FIELDS = "Narrow the list of events";
const grid = () => page.getByRole("grid", { name: "Events" });
const search = () => page.getByRole("search", { name: FIELDS });
const field = (label) => search().getByLabel(label, { exact: true });
const dialog = (name) => page.getByRole("dialog", { name, exact: true });

/** The rows of a type on a machine. */
const rowOf = (type, machine) => grid().getByRole("row").filter({ hasText: type }).filter({ has: page.locator(`a[href="/objects/virtualMachines/${machine}"]`) });

/** What is listed: how many events the screen says there are. */
const listed = (count) => page.getByText(`All ${count} events are here.`, { exact: true }).waitFor();

/** What the address says that the list is narrowed by. */
const address = () => new URL(page.url()).search;

/** Has everything shown again. */
async function showAll() {
  await search().getByRole("button", { name: "Show all" }).press("Enter");
  await listed(asked.counts.all);
}

/** Goes to a row by the arrows, and opens its event. */
async function open(row) {
  await row.first().waitFor();
  await grid().focus();
  await grid().press("Home");
  await until(async () => {
    if ((await row.first().getAttribute("aria-selected")) === "true") return true;
    await grid().press("ArrowDown");
    return false;
  });
  await grid().press("Enter");
  await page.getByRole("dialog").getByRole("button", { name: "Acknowledge", exact: true }).waitFor();
}

/** Asks for the acknowledgement of the event that is open, with a comment. */
async function acknowledge(comment) {
  await page.getByRole("dialog").getByRole("button", { name: "Acknowledge", exact: true }).press("Enter");
  const asking = dialog("Acknowledge this event?");
  await asking.getByLabel("Comment").pressSequentially(comment);
  await asking.getByRole("button", { name: "Acknowledge", exact: true }).press("Enter");
  return asking;
}

/** What became of the event that is open; then it is closed, and is no more in the list. */
async function close(row) {
  await page.getByTestId("event-became").waitFor();
  const became = await page.getByTestId("event-became").innerText();
  await dialog("Acknowledge this event?").waitFor({ state: "detached" });
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await row.waitFor({ state: "detached" });
  return became;
}

/** Each field by itself, then two together. */
async function narrow() {
  for (const [label, option, key] of [["Severity", "critical", "critical"], ["State", "open", "open"], ["Type", `JOB_FAILED (${asked.counts.failed})`, "failed"]]) {
    await choose(FIELDS, label, option);
    await listed(asked.counts[key]);
    said.addresses.push(address());
    await showAll();
  }
  // About as slowly as what is typed counts: the next letter comes while the one before it begins to.
  await field("Object").focus();
  await page.keyboard.type("web", { delay: 310 });
  await listed(asked.counts.web);
  said.addresses.push(address());
  said.typed = await field("Object").inputValue();
  await showAll();
  await field("Before").fill("2020-01-01T12:00");
  await page.getByText("No event matches.").waitFor();
  await showAll();
  await field("From").fill("2020-01-01T12:00");
  await page.waitForURL(/since=2020/);
  await listed(asked.counts.all);
  // What is picked before what was typed counts takes that along, and is not undone by it.
  await field("Object").fill("db");
  await choose(FIELDS, "Severity", "critical");
  await listed(1);
  await look(page, "events-narrowed", ["main"], true);
  await listed(1);
  said.addresses.push(address());
  await showAll();
}

/** Saves what is listed, as lines. */
async function save() {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export", exact: true }).press("Enter")]);
  said.file = download.suggestedFilename();
  return (await readFile(await download.path(), "utf8")).split("\n").filter(Boolean).map((line) => JSON.parse(line).event.name);
}

/** From now on, what the page asks the gateway for by a text, but for lists and exports. */
function watchedBy(text) {
  const asks = [];
  page.on("request", (request) => {
    if (!/\/(List|Export)Events$/.test(request.url()) && request.postDataBuffer()?.includes(text)) asks.push(request.url());
  });
  return asks;
}

/** The live log is saved as it is narrowed; the archive has nothing yet and says so, whatever is asked, and nothing there is acknowledged. */
async function keepAndLookBack() {
  const all = page.getByRole("button", { name: "Acknowledge all shown" });
  await choose(FIELDS, "Severity", "critical");
  await listed(asked.counts.critical);
  said.exported = await save();
  await all.waitFor();
  await showAll();
  await field("Archive").press("Space");
  await page.getByText("The archive has no events").waitFor();
  await listed(0);
  await all.waitFor({ state: "detached" });
  said.archiveAddress = address();
  await look(page, "events-archive", ["main"], true);
  said.exportedOfArchive = await save();
  await field("Type").fill("NEVER_SEEN");
  await page.getByText("No archived event matches.").waitFor();
  await showAll();
}

const SCENARIOS = {
  /** Narrows the list, then has its open events leave it, each in its own way. */
  async events() {
    said.addresses = [];
    said.watched = watchedBy("severity >= CRITICAL");
    said.watchedInArchive = watchedBy("NEVER_SEEN");
    await go(page, "/events");
    await listed(asked.counts.all);
    await narrow();
    await keepAndLookBack();

    await choose(FIELDS, "State", "open");
    await listed(asked.counts.open);
    const failed = rowOf("JOB_FAILED", "web");
    await open(failed);
    await look(page, "event", ["[role=dialog]"]);
    await acknowledge("a typing error");
    said.became = await close(failed);

    const holds = rowOf("ROLLBACK_FAILED", "db");
    await open(holds);
    const asking = await acknowledge("seen by the night shift");
    await asking.getByRole("alert").waitFor();
    said.refusal = await asking.getByRole("alert").innerText();
    await look(page, "event-still-holds", ["[role=dialog]"], true);
    said.comment = await asking.getByLabel("Comment").inputValue();
    await asking.getByRole("button", { name: "Acknowledge anyway" }).press("Enter");
    said.becameByForce = await close(holds);

    const clears = rowOf("ROLLBACK_FAILED", "app");
    await clears.waitFor();
    await have("free");
    await clears.waitFor({ state: "detached" });
    await choose(FIELDS, "State", "cleared");
    await clears.waitFor();
    said.cleared = await clears.innerText();
    await choose(FIELDS, "State", "acknowledged");
    await listed(2);
    said.acknowledged = [await failed.count(), await holds.count()];
  },
};

await play(SCENARIOS);
