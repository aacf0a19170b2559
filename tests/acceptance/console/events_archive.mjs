// The archive of events by the keyboard: what is in it is found, read and saved; what went there meanwhile says so.
import { go } from "./browser.mjs";
import { acknowledge, acknowledging, address, dialog, field, FIELDS, open, rowOf, save, search } from "./events.mjs";
import { choose, have, look, page, play, said } from "./scenario.mjs";

const drawer = () => page.getByRole("dialog").filter({ has: page.getByText(/^events\/\d+$/) });
const one = () => page.getByText("1 event is here; there are no more.", { exact: true }).waitFor();

/** Closes the dialog in front. */
async function close(shown) {
  await page.keyboard.press("Escape");
  await shown.waitFor({ state: "detached" });
}

const SCENARIOS = {
  /** Acknowledges what was archived, and what was forgotten meanwhile; reads the archive between the two. */
  async archive() {
    await go(page, "/events");
    const [old, young] = [rowOf("JOB_FAILED", "web"), rowOf("JOB_FAILED", "db")];
    await young.waitFor();
    await open(old);
    await acknowledging().waitFor();
    await have("archive");
    const asking = await acknowledge("seen in the morning");
    await asking.getByRole("alert").waitFor();
    said.archived = await asking.getByRole("alert").innerText();
    await drawer().getByText("archived", { exact: true }).waitFor();
    said.canStill = await asking.getByRole("button", { name: "Acknowledge", exact: true }).isEnabled();
    await look(page, "event-archived-meanwhile", ["[role=dialog]"], true);
    await close(asking);
    said.offered = await acknowledging().count();
    await close(drawer());
    said.row = await old.innerText();
    said.other = await young.innerText();
    await look(page, "events-one-archived", ["main"], true);

    await field("Archive").press("Space");
    await old.waitFor();
    await young.waitFor({ state: "detached" });
    said.exported = await save();
    await field("Type").fill("JOB_FAILED");
    await one();
    said.address = address();
    await look(page, "events-archive-narrowed", ["main"], true);
    await open(old);
    await drawer().getByText("Causes, the nearest first").waitFor();
    said.details = await drawer().innerText();
    said.offeredInArchive = await acknowledging().count();
    await look(page, "event-of-the-archive", ["[role=dialog]"], true);
    await close(drawer());
    said.exportedNarrowed = await save();

    await search().getByRole("button", { name: "Show all" }).press("Enter");
    await choose(FIELDS, "State", "open");
    await old.waitFor({ state: "detached" });
    await open(young);
    await have("forget");
    await acknowledge("seen in the evening");
    await page.getByRole("dialog").getByText("This event cannot be shown").waitFor();
    said.forgotten = await page.getByRole("dialog", { name: "Event", exact: true }).innerText();
    await dialog("Acknowledge this event?").waitFor({ state: "detached" });
    await look(page, "event-forgotten-meanwhile", ["[role=dialog]"], true);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await young.waitFor({ state: "detached" });
  },
};

await play(SCENARIOS);
