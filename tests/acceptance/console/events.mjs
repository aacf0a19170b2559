// The screen of events, as scenarios go about it by the keyboard.
import { readFile } from "node:fs/promises";
import { page, said, until } from "./scenario.mjs";

export const FIELDS = "Narrow the list of events";
export const grid = () => page.getByRole("grid", { name: "Events" });
export const search = () => page.getByRole("search", { name: FIELDS });
export const field = (label) => search().getByLabel(label, { exact: true });
export const dialog = (name) => page.getByRole("dialog", { name, exact: true });

/** The rows of a type on a machine. */
export const rowOf = (type, machine) => grid().getByRole("row").filter({ hasText: type }).filter({ has: page.locator(`a[href="/objects/virtualMachines/${machine}"]`) });

/** What the address says that the list is narrowed by. */
export const address = () => new URL(page.url()).search;

/** Goes to a row by the arrows, and opens its event. */
export async function open(row) {
  await row.first().waitFor();
  await grid().focus();
  await grid().press("Home");
  await until(async () => {
    if ((await row.first().getAttribute("aria-selected")) === "true") return true;
    await grid().press("ArrowDown");
    return false;
  });
  await grid().press("Enter");
  await page.getByRole("dialog").getByText(/^events\/\d+$/).waitFor();
}

/** The button of the event that is open by which it is acknowledged. */
export const acknowledging = () => page.getByRole("dialog").getByRole("button", { name: "Acknowledge", exact: true });

/** Asks for the acknowledgement of the event that is open, with a comment. */
export async function acknowledge(comment) {
  await acknowledging().press("Enter");
  const asking = dialog("Acknowledge this event?");
  await asking.getByLabel("Comment").pressSequentially(comment);
  await asking.getByRole("button", { name: "Acknowledge", exact: true }).press("Enter");
  return asking;
}

/** Saves what is listed, as lines. */
export async function save() {
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export", exact: true }).press("Enter")]);
  said.file = download.suggestedFilename();
  return (await readFile(await download.path(), "utf8")).split("\n").filter(Boolean).map((line) => JSON.parse(line).event.name);
}
