// How people find their way in the lists of jobs, recurring jobs and locks: by keys and by the mouse, narrowed, and saved.
import { readFile } from "node:fs/promises";
import { go } from "./browser.mjs";
import { asked, choose, have, id, look, page, play, said, until, WIDE } from "./scenario.mjs";

const dialog = () => page.getByRole("dialog");
const button = (name) => page.locator("main").getByRole("button", { name, exact: true });
const field = (path) => page.locator(`[id="field-${path}"]`);
const card = (name) => page.locator(`[data-name="${name}"]`);

/** The row that a grid's keys are at, as text and as the attributes that say where it is. */
const activeRow = (grid) =>
  grid.evaluate((element) => {
    const row = document.getElementById(element.getAttribute("aria-activedescendant"));
    return row && { text: row.innerText, level: Number(row.getAttribute("aria-level")), open: row.getAttribute("aria-expanded"), place: Number(row.getAttribute("aria-rowindex")) };
  });

/** Presses keys in a grid, one after another, and returns the row that they lead to. */
async function press(grid, ...keys) {
  for (const key of keys) await grid.press(key);
  return activeRow(grid);
}

/** Waits until the focus is where it was before a dialog was opened. */
const isBack = (opener) => until(() => opener.evaluate((element) => element === document.activeElement));

const SCENARIOS = {
  /** Narrows the list of jobs by each of its fields, goes through its tree, chooses columns, and saves what is listed. */
  async jobs() {
    await go(page, "/jobs");
    const grid = page.getByRole("treegrid", { name: "Operations and jobs" });
    await grid.getByRole("row").nth(1).waitFor();
    await look(page, "jobs", ["main"], true);
    await goThroughTree(grid);
    await narrow(grid);
    await saveColumns(grid);
    await stayAtRow(grid);
  },

  /** Runs a failed operation again with one field put right, and has an undo that was refused tried again. */
  async again(page) {
    await go(page, `/jobs/${id(asked.failed)}`);
    await page.getByRole("link", { name: "Run again" }).click();
    await field("repository.path").waitFor();
    said.form = { id: await field("repository_id").inputValue(), path: await field("repository.path").inputValue(), pool: await field("repository.server_pool").inputValue() };
    await field("repository.path").fill(asked.path);
    await button("Run").click();
    await page.locator('[role=treeitem][data-key="repositories/outside"]').waitFor();
    await go(page, `/jobs/${id(asked.stuck)}`);
    await button("Try the undo again").press("Enter");
    await dialog().getByLabel("Why").fill(asked.reason);
    await look(page, "retry", ["[role=dialog]"], true);
    await dialog().getByRole("button", { name: "Try again", exact: true }).press("Enter");
    await dialog().waitFor({ state: "detached" });
    await page.locator("[data-job][data-state=FAILED]").first().waitFor();
    await button("Try the undo again").waitFor({ state: "detached" });
    await askByAddress();
  },

  /** Turns a schedule on, edits it and sees its next runs; edits a trigger and deletes it, and deletes a filter. */
  async automation(page) {
    const runs = card(asked.schedule).getByTestId("next-runs");
    await go(page, "/jobs/recurring");
    await card(asked.schedule).getByText("Disabled", { exact: true }).waitFor();
    await card(asked.trigger).waitFor();
    await card(asked.filter).waitFor();
    said.resting = await runs.count();
    await card(asked.schedule).getByRole("switch").press("Space");
    await runs.waitFor();
    said.due = await dueOf(runs);
    await look(page, "automation", ["main"], true);
    await edit(asked.schedule, "schedule.cron", "15 4 * * *");
    await until(async () => (await runs.locator("time").first().getAttribute("datetime"))?.endsWith("T04:15:00.000Z"));
    said.dueLater = await dueOf(runs);
    await edit(asked.trigger, "trigger.hourly_limit", "7");
    await card(asked.trigger).getByText("7 in an hour").waitFor();
    await edit(asked.filter, "filter.limit_per_minute", "9");
    await card(asked.filter).getByText("lets 9 begin in a minute").waitFor();
    for (const [name, title] of [[asked.trigger, "Delete Trigger"], [asked.filter, "Delete Filter"]]) {
      await card(name).getByRole("link", { name: "Delete" }).press("Enter");
      await button("Run...").click();
      await dialog().getByRole("button", { name: title, exact: true }).click();
      await page.getByRole("heading", { name: "Recurring jobs" }).waitFor();
      await card(name).waitFor({ state: "detached" });
    }
  },

  /** Takes a lock by the dialog and gives it back; then an address that no screen has, and services that are gone. */
  async locksAndAway(page) {
    await go(page, "/locks");
    await takeLock();
    await go(page, "/nowhere/at/all");
    await page.getByRole("heading", { name: "Nothing here" }).waitFor();
    await look(page, "nothing-here", ["main"], true);
    await have("kill");
    await page.getByText(/What is shown may be old/).first().waitFor();
    said.notLive = await page.getByRole("status").filter({ hasText: "Not live" }).innerText();
    await look(page, "not-live", ["main", "header"], true);
    await page.getByRole("link", { name: "Go to the overview" }).press("Enter");
    await page.locator('[role=treeitem][data-key="virtualMachines/web"]').waitFor();
    await have("start");
    await page.getByText(/What is shown may be old/).first().waitFor({ state: "detached" });
  },
};

/** A form that was come to by its address leads to the operation; Back leads to the form, not to the question before it. */
async function askByAddress() {
  await go(page, "/run/UpdateVirtualMachine");
  await field("name").fill("virtualMachines/web");
  await button("Continue").press("Enter");
  await field("virtual_machine.description").fill("asked for by its address");
  await button("Run").click();
  await page.waitForURL(/\/jobs\/\d+$/);
  await page.goBack();
  await field("virtual_machine.description").waitFor();
  said.back = new URL(page.url()).search;
}

/** The hour and the minute of each of a schedule's next runs. */
const dueOf = (runs) => runs.locator("time").evaluateAll((times) => times.map((time) => time.dateTime.slice(11, 16)));

/** Changes one field of what a card shows, by its form, which leads back to the card. */
async function edit(name, path, text) {
  await card(name).getByRole("link", { name: "Edit" }).press("Enter");
  await field(path).fill(text);
  await button("Run").click();
  await page.getByRole("heading", { name: "Recurring jobs" }).waitFor();
}

/** Opens the dialog twice: what was given up is not there any more; what is taken comes into the list, and goes. */
async function takeLock() {
  const opener = button("Take a lock");
  const object = dialog().getByLabel("Object");
  await opener.press("Enter");
  await object.fill("servers/none");
  await dialog().getByLabel("What for").fill("a look");
  await dialog().getByRole("button", { name: "Take", exact: true }).press("Enter");
  await dialog().getByRole("alert").waitFor();
  said.refusal = await dialog().getByRole("alert").innerText();
  await look(page, "take", ["[role=dialog]"], true);
  await page.keyboard.press("Escape");
  await dialog().waitFor({ state: "detached" });
  await isBack(opener);
  await opener.press("Enter");
  await object.waitFor();
  said.emptied = [await object.inputValue(), await dialog().getByRole("alert").count()];
  await object.fill("virtualMachines/db");
  await dialog().getByLabel("What for").fill("a look at its disk");
  await dialog().getByRole("button", { name: "Take", exact: true }).press("Enter");
  await dialog().waitFor({ state: "detached" });
  await isBack(opener);
  const release = page.getByRole("button", { name: "Release the lock on virtualMachines/db" });
  await release.waitFor();
  await have("locks");
  await look(page, "locks-of-people", ["main"], true);
  await release.press("Enter");
  await page.getByText("No person holds a lock.").waitFor();
  // The button that was pressed is gone, and the keys go on from the screen.
  await until(() => page.evaluate(() => document.activeElement?.id === "screen"));
}

/** The tree of an operation's jobs, by keys and by the mouse. */
async function goThroughTree(grid) {
  await grid.focus();
  said.first = await press(grid, "Home");
  said.last = await press(grid, "End");
  said.back = await press(grid, "Home");
  const operation = grid.getByRole("row").filter({ hasText: asked.parent }).first();
  await operation.getByRole("gridcell").last().click();
  await grid.focus();
  said.closed = await activeRow(grid);
  said.opened = await press(grid, "ArrowRight");
  said.child = await press(grid, "ArrowRight");
  said.grandchild = await press(grid, "ArrowRight");
  said.parent = await press(grid, "ArrowLeft");
  said.folded = await press(grid, "ArrowLeft");
  said.below = await press(grid, "ArrowDown");
  await press(grid, "ArrowUp");
  said.top = await press(grid, "ArrowLeft");
  said.shut = await press(grid, "ArrowLeft");
  await press(grid, "ArrowRight", "ArrowDown");
  await grid.press("Enter");
  await page.waitForURL(/\/jobs\/\d+\?job=/);
  said.entered = new URL(page.url()).search;
  await page.getByRole("tab", { name: "Timeline" }).waitFor();
  await page.goBack();
  await grid.getByRole("row").nth(1).waitFor();
  // What was open when the list was left is open when one comes back.
  await operation.getByRole("button", { name: /^Hide the jobs/ }).click();
  await operation.getByRole("button", { name: /^Show the jobs/ }).click();
  await operation.getByRole("button", { name: /^Hide the jobs/ }).click();
  await operation.getByRole("gridcell").last().dblclick();
  await page.waitForURL(/\/jobs\/\d+$/);
  await page.getByRole("tab", { name: "Timeline" }).waitFor();
  await page.goBack();
  await grid.getByRole("row").nth(1).waitFor();
}

/** What is listed with a filter: how many jobs the screen says there are. */
async function listed(count) {
  await page.getByTestId("job-count").getByText(count === 1 ? "1 job is here; there are no more." : `All ${count} jobs are here.`).waitFor();
}

/** Each field of the filter, and what is left of the list by it. */
async function narrow(grid) {
  const search = page.getByRole("search", { name: "Narrow the list of jobs" });
  const all = search.getByRole("button", { name: "Show all" });
  await choose("Narrow the list of jobs", "State", "failed in any way");
  await listed(asked.counts.state);
  said.stateAddress = new URL(page.url()).search;
  const [download] = await Promise.all([page.waitForEvent("download"), button("Export").click()]);
  said.file = download.suggestedFilename();
  said.exported = (await readFile(await download.path(), "utf8")).trim().split("\n").map((line) => JSON.parse(line).job.name);
  await all.click();
  await listed(asked.counts.all);
  for (const [label, text, count] of [["Type", "Create Virtual Disk", asked.counts.type], ["Object", "virtualMachines/db", asked.counts.object], ["User", "nobody", 0]]) {
    await search.getByLabel(label, { exact: true }).fill(text);
    await listed(count);
    await search.getByLabel(label, { exact: true }).fill("");
    await listed(asked.counts.all);
  }
  await search.getByLabel("Before", { exact: true }).fill("2020-01-01T12:00");
  await page.getByText("No job matches.").waitFor();
  await all.press("Enter");
  await listed(asked.counts.all);
  await search.getByLabel("From", { exact: true }).fill("2020-01-01T12:00");
  await page.waitForURL(/since=2020/);
  await listed(asked.counts.all);
  await all.press("Enter");
}

/** The columns, chosen by the keyboard; they are remembered. */
async function saveColumns(grid) {
  const opener = button("Columns");
  await opener.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("checkbox", { name: "Ended" }).focus();
  await page.keyboard.press("Space");
  await look(page, "columns", ["[role=dialog]"], false, WIDE);
  await page.keyboard.press("Escape");
  await isBack(opener);
  await page.reload();
  await grid.getByRole("row").nth(1).waitFor();
  said.columns = await grid.getByRole("columnheader").allInnerTexts();
}

/** The keys stay at their row when another one comes before it. */
async function stayAtRow(grid) {
  await grid.focus();
  said.before = await press(grid, "Home", "ArrowDown");
  await have("rename");
  await grid.getByText("Rename Virtual Machine").first().waitFor();
  said.stayed = await activeRow(grid);
}

await play(SCENARIOS);
