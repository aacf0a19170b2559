// The screen of events by the keyboard: narrowed by each of its fields, saved, its archive, acknowledged, by force too, and
// cleared by itself.
import { go } from "./browser.mjs";
import { acknowledge, address, dialog, field, FIELDS, open, rowOf, save, search } from "./events.mjs";
import { asked, choose, have, look, page, play, said } from "./scenario.mjs";

/** What is listed: how many events the screen says there are. */
const listed = (count) => page.getByText(count === 1 ? "1 event is here; there are no more." : `All ${count} events are here.`, { exact: true }).waitFor();

/** Has everything shown again. */
async function showAll() {
  await search().getByRole("button", { name: "Show all" }).press("Enter");
  await listed(asked.counts.all);
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
