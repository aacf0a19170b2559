// What people do on the screens of jobs, events and locks, each scenario in a browser of its own; says what it saw.
import { readFile } from "node:fs/promises";
import { go, seriousFindings } from "./browser.mjs";
import { asked, cue, findings, id, look, page, play, said, until } from "./scenario.mjs";

const SCENARIOS = {
  /** Sees an operation come into the list, and watches its page to its end. */
  async watchToEnd(page) {
    await go(page, "/jobs");
    const list = page.getByRole("treegrid", { name: "Operations and jobs" });
    await list.getByRole("row").nth(1).waitFor();
    cue("ready");
    await list.getByRole("link", { name: asked.title }).first().click();
    const bar = page.getByRole("progressbar", { name: "Progress of the operation" });
    // A bar that stands at 0 has no width, so it counts as hidden.
    await bar.waitFor({ state: "attached" });
    await page.evaluate(() => {
      const element = document.querySelector('[role="progressbar"][aria-label="Progress of the operation"]');
      window.bars = [Number(element.getAttribute("aria-valuenow"))];
      new MutationObserver(() => window.bars.push(Number(element.getAttribute("aria-valuenow")))).observe(element, { attributeFilter: ["aria-valuenow"] });
    });
    await page.getByText("succeeded", { exact: true }).first().waitFor({ timeout: 60_000 });
    said.bars = await page.evaluate(() => window.bars);
    await page.getByRole("tab", { name: "Timeline" }).click();
    await page.getByRole("img", { name: /Timeline of the operation/ }).waitFor();
    await look(page, "operation-timeline");
    said.buttons = await page.locator("main").getByRole("button", { name: "Abort", exact: true }).count();
    said.spans = await page.locator("svg [data-span=work]").count();
    said.steps = await page.locator("svg [data-lane] [data-step]").evaluateAll((bars) => bars.map((bar) => [bar.closest("[data-lane]").dataset.lane, Number(bar.getAttribute("x"))]));
    await page.getByRole("button", { name: "Show as a table" }).click();
    said.rows = await page.locator("main table tbody tr").count();
    await page.getByRole("tab", { name: "Transcript" }).click();
    said.transcript = await page.getByRole("region", { name: "Transcript" }).innerText();
  },

  /** Aborts an operation from its page, and waits for its end. */
  async abort(page) {
    await go(page, `/jobs/${id(asked.operation)}`);
    await page.locator('[data-step], [data-job][data-state="RUNNING"]').first().waitFor();
    await look(page, "operation-running");
    await page.locator("main").getByRole("button", { name: "Abort", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("will be aborted").first().waitFor();
    said.consequences = await dialog.innerText();
    await look(page, "abort", ["main", "[role=dialog]"]);
    await dialog.getByLabel("Why").fill("the wrong machine");
    await dialog.getByRole("button", { name: "Abort", exact: true }).click();
    await page.getByText("cancelled", { exact: true }).first().waitFor({ timeout: 90_000 });
    said.state = await page.locator("[data-job]").first().getAttribute("data-state");
  },

  /** Aborts one job from its operation's page, while a host is silent; the others go on when it speaks again. */
  async abortOne(page) {
    await go(page, `/jobs/${id(asked.operation)}`);
    const job = page.locator(`[data-job="${asked.job}"]`);
    await job.getByRole("button", { expanded: false }).first().click();
    await job.getByRole("button", { name: /^Abort this job/ }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("These go on").waitFor();
    said.consequences = await dialog.innerText();
    await look(page, "abort-job", ["main", "[role=dialog]"]);
    await dialog.getByLabel("Why").fill("too big");
    await dialog.getByRole("button", { name: "Abort", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    await job.getByRole("button", { name: /^Abort this job/ }).waitFor({ state: "detached" });
    cue("aborted");
    await page.getByText("What is still missing or left over").waitFor({ timeout: 90_000 });
    await look(page, "abort-job-ended");
    said.states = await page.locator("[data-job]").evaluateAll((jobs) => jobs.map((one) => one.dataset.state));
    said.missing = await page.getByRole("alert").filter({ hasText: "What is still missing or left over" }).innerText();
  },

  /** Acknowledges an event with a comment; one that still holds only by force. */
  async acknowledge(page) {
    await go(page, `/events?standing=open&severity=WARNING`);
    await page.getByRole("grid", { name: "Events" }).getByText(asked.message).first().waitFor();
    await look(page, "events");
    await page.getByRole("grid", { name: "Events" }).getByText(asked.message).first().click();
    await page.getByRole("button", { name: "Acknowledge", exact: true }).click();
    const dialog = page.getByRole("dialog", { name: "Acknowledge this event?" });
    await dialog.getByLabel("Comment").fill(asked.comment);
    await dialog.getByRole("button", { name: "Acknowledge", exact: true }).click();
    if (asked.holds) {
      await dialog.getByRole("alert").waitFor();
      // What a program reads of it is there on request, by the keyboard too.
      await dialog.getByText("Details", { exact: true }).press("Enter");
      await dialog.getByText("CONDITION_STILL_HOLDS").first().waitFor();
      said.refusal = await dialog.getByRole("alert").innerText();
      await look(page, "acknowledge", ["[role=dialog]"]);
      await dialog.getByRole("button", { name: "Acknowledge anyway" }).click();
    }
    await page.getByTestId("event-became").waitFor();
    said.became = await page.getByTestId("event-became").innerText();
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Close", exact: true }).click();
    await page.getByRole("grid", { name: "Events" }).getByText(asked.message).waitFor({ state: "detached" });
  },

  /** Sees who waits for whom, and that it is over once it is over. */
  async locks(page) {
    await go(page, "/locks");
    const edge = page.locator(`[data-edge="${asked.waiter}>${asked.holder}"]`);
    await edge.waitFor();
    said.parties = await page.locator("[data-party]").evaluateAll((boxes) => boxes.map((box) => [box.dataset.party, box.dataset.waiting]));
    said.sentences = await page.getByRole("list", { name: "Who waits for whom" }).innerText();
    await look(page, "locks");
    await page.getByRole("button", { name: `Break the locks of ${asked.holder}` }).first().click();
    said.breaking = await page.getByRole("dialog").innerText();
    await look(page, "break", ["[role=dialog]"]);
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await go(page, `/jobs/${id(asked.waiter)}`);
    await page.getByTestId("wait").waitFor();
    said.wait = await page.getByTestId("wait").innerText();
    await look(page, "waiting");
    cue("seen");
    await page.getByText("succeeded", { exact: true }).first().waitFor({ timeout: 90_000 });
    await go(page, "/locks");
    await page.getByText("Nobody waits for a lock.").waitFor();
  },

  /** Turns a schedule off, runs it now, and sees its next runs. */
  async recurring(page) {
    await go(page, "/jobs/recurring");
    const card = page.locator(`[data-name="${asked.schedule}"]`);
    await card.getByTestId("next-runs").waitFor();
    said.next = await card.getByTestId("next-runs").locator("time").count();
    await look(page, "recurring");
    await card.getByRole("button", { name: "Run now" }).click();
    await card.getByText("Submitted as").waitFor();
    said.ran = await card.getByRole("status").innerText();
    await card.getByRole("switch").click();
    await card.getByText("Disabled", { exact: true }).waitFor();
    await card.getByTestId("next-runs").waitFor({ state: "detached" });
  },

  /** Sees what a webhook gave up and why, has one sent again, and has the other forgotten. */
  async webhook(page) {
    await go(page, "/jobs/recurring");
    const card = page.locator(`[data-name="${asked.webhook}"]`);
    const rows = card.getByRole("row").filter({ has: page.getByRole("button", { name: /^Send again/ }) });
    await until(async () => (await rows.count()) === 2);
    said.rows = await rows.allInnerTexts();
    await rows.last().scrollIntoViewIfNeeded();
    await look(page, "webhook");
    await rows.first().getByRole("button").click();
    await until(async () => (await rows.count()) === 1);
    await card.getByRole("button", { name: "Forget all" }).click();
    await look(page, "forget", ["[role=dialog]"]);
    await page.getByRole("dialog").getByRole("button", { name: "Forget" }).click();
    await until(async () => (await rows.count()) === 0);
    await page.getByRole("dialog").waitFor({ state: "detached" });
  },

  /** Holds an operation, lets it go on, moves it in its queues, saves it; then the list, its counters, and the drawer. */
  async steer(page) {
    const main = page.locator("main");
    const dialog = page.getByRole("dialog");
    await go(page, `/jobs/${id(asked.operation)}`);
    await main.getByRole("button", { name: "Priority", exact: true }).click();
    await dialog.getByLabel("Priority, from -20 to 20").fill("15");
    await dialog.getByLabel("Why").fill("it is urgent");
    await look(page, "priority", ["[role=dialog]"], true);
    await dialog.getByRole("button", { name: "Set priority" }).click();
    await dialog.waitFor({ state: "detached" });
    await main.getByRole("button", { name: "Hold", exact: true }).click();
    await dialog.getByLabel("Why").fill("not before noon");
    await look(page, "hold", ["[role=dialog]"], true);
    await dialog.getByRole("button", { name: "Hold", exact: true }).click();
    await main.getByRole("button", { name: "Release", exact: true }).waitFor();
    await until(async () => (await main.locator("[data-job]").first().innerText()).includes("not before noon"));
    said.held = await main.locator("[data-job]").first().innerText();
    await look(page, "held");
    await main.getByRole("button", { name: "Release", exact: true }).click();
    await dialog.getByRole("button", { name: "Release", exact: true }).click();
    await main.getByRole("button", { name: "Hold", exact: true }).waitFor();
    const [download] = await Promise.all([page.waitForEvent("download"), main.getByRole("button", { name: "Export", exact: true }).click()]);
    said.file = download.suggestedFilename();
    said.exported = (await readFile(await download.path(), "utf8")).trim().split("\n").map((line) => JSON.parse(line).job);
    await seeCounters();
    await chooseColumns();
    await openDrawer();
  },

  /** Takes a lock and gives it back; breaks that of an operation whose host is silent, in its two phases. */
  async breakLocks(page) {
    const dialog = page.getByRole("dialog");
    await go(page, "/locks");
    await page.getByRole("button", { name: "Take a lock" }).click();
    await dialog.getByLabel("Object").fill("virtualMachines/db");
    await dialog.getByLabel("What for").fill("new memory is put in");
    await dialog.getByRole("button", { name: "Take", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    const mine = page.locator("tr[data-lock]");
    await until(async () => (await mine.first().innerText()).includes("held"));
    said.taken = await mine.first().innerText();
    await page.locator('[role=treeitem][data-key="virtualMachines/db"] [data-lock]').waitFor();
    await page.getByRole("button", { name: "Release the lock on virtualMachines/db" }).click();
    await page.getByText("No person holds a lock.").waitFor();

    await page.getByRole("button", { name: `Break the locks of ${asked.holder}` }).first().click();
    await dialog.getByLabel("Why the locks must go").fill("its host is silent");
    await dialog.getByRole("button", { name: "Break", exact: true }).click();
    await dialog.getByText("They are not free yet").waitFor();
    said.first = await dialog.innerText();
    await look(page, "break-not-free", ["[role=dialog]"]);
    await dialog.getByRole("button", { name: "Free them all the same" }).click();
    await dialog.getByText("They are free, and some objects are in quarantine").waitFor();
    said.second = await dialog.innerText();
    await dialog.getByRole("button", { name: "Close" }).last().click();
  },

  /** Reads an error with what to do and what led to it, then signs out. */
  async failureAndOut(page) {
    await go(page, `/jobs/${id(asked.operation)}`);
    const alert = page.getByRole("alert").first();
    await alert.getByText("What led to it").press("Enter");
    await alert.getByText("Reason", { exact: true }).waitFor();
    said.failure = await alert.innerText();
    await look(page, "failure");
    await page.getByRole("button", { name: "Person and theme" }).click();
    await page.getByText("administrator").waitFor();
    said.who = await page.getByRole("menu").innerText();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Sign out" }).click();
    await page.getByText("Nobody is signed in here").waitFor();
    await page.locator("button[data-state='Signed out']").waitFor();
    said.rows = await page.locator("[role=treeitem]").count();
    await page.screenshot({ path: `${asked.shots}/signed-out-1280-light.png` });
  },

  /** Decides on an undo that was refused: looks at what is left, and accepts it with a reason. */
  async residue(page) {
    await go(page, `/jobs/${id(asked.operation)}`);
    await page.getByText("An undo was refused").first().waitFor();
    said.residue = await page.locator("[data-job][data-state=ROLLBACK_FAILED]").first().innerText();
    await look(page, "residue");
    await page.getByRole("button", { name: "Accept what is left" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Why").fill(asked.reason);
    said.accepting = await dialog.innerText();
    await look(page, "accept", ["[role=dialog]"], true);
    await dialog.getByRole("button", { name: "Accept", exact: true }).click();
    await page.getByText(/^(failed|partial|cancelled)$/).first().waitFor({ timeout: 90_000 });
  },
};

/** The numbers of the pane at the bottom, each with the list that it leads to. */
async function seeCounters() {
  const pane = page.getByRole("region", { name: "Job summary" });
  said.counters = {};
  for (const label of ["Pending", "In Progress", "Failed", "Aborted", "Complete", "Total"]) {
    const counter = pane.locator(`[data-counter="${label}"]`);
    await counter.click();
    const listed = page.getByTestId("job-count");
    await until(async () => {
      const number = Number((await counter.locator("strong").innerText()).replace(/\D/g, ""));
      said.counters[label] = number;
      return (await listed.innerText()) === (number === 1 ? "1 job is here; there are no more." : `All ${number} jobs are here.`);
    });
  }
}

/** Chooses what the list shows; it is remembered by the browser. */
async function chooseColumns() {
  const list = page.getByRole("treegrid", { name: "Operations and jobs" });
  await page.getByRole("button", { name: "Columns" }).click();
  await page.getByRole("checkbox", { name: "Priority" }).check();
  await page.getByRole("checkbox", { name: "User" }).uncheck();
  await page.keyboard.press("Escape");
  await page.reload();
  await list.getByRole("row").nth(1).waitFor();
  said.columns = await list.getByRole("columnheader").allInnerTexts();
  said.row = await list.getByRole("row").filter({ hasText: asked.title }).first().innerText();
}

/** The tree is a drawer on a narrow screen: nobody comes into it by Tab while it is closed, nor out while it is open. */
async function openDrawer() {
  await page.setViewportSize({ width: 390, height: 844 });
  said.tabbedWhileClosed = await tabThrough(["banner", "main"]);
  said.drawer = await keysInDrawer();
  await page.getByRole("button", { name: "Open the navigation" }).click();
  const machine = page.locator('[role=treeitem][data-key="virtualMachines/web"]');
  await machine.waitFor();
  await page.screenshot({ path: `${asked.shots}/drawer-390-light.png` });
  findings.push(...(await seriousFindings(page, "drawer at 390", ["[role=dialog]", "header"])));
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${asked.shots}/drawer-390-dark.png` });
  await page.emulateMedia({ colorScheme: "light" });
  await machine.getByRole("link").click();
  // Other scenarios give the machine another name to show, so its heading is not known.
  await page.waitForURL("**/objects/virtualMachines/web");
  await page.getByRole("button", { name: "Open the navigation" }).waitFor();
  await page.setViewportSize({ width: 1280, height: 900 });
}

/** What the keys do that open the drawer, go round in it both ways, and close it. */
async function keysInDrawer() {
  const met = { within: [], beneath: true };
  const here = () => page.evaluate(() => [document.activeElement?.closest("[role=dialog]") !== null, document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent]);
  await page.getByRole("button", { name: "Open the navigation" }).focus();
  await page.keyboard.press("Enter");
  await page.locator('[role=dialog] [role=treeitem][data-key="virtualMachines/web"]').waitFor();
  await until(async () => (await here())[0]);
  const [, first] = await here();
  for (const key of ["Tab", "Shift+Tab"]) {
    let stops = 0;
    do {
      await page.keyboard.press(key);
      const [within, name] = await here();
      met.within.push(within);
      if (name === first) break;
    } while (++stops < 40);
    met[key] = stops;
  }
  met.beneath = await page.evaluate(() => {
    document.querySelector("main").focus();
    return document.activeElement?.tagName === "MAIN";
  });
  const search = page.getByRole("textbox", { name: "Search the site" });
  await search.fill("web");
  await page.keyboard.press("Escape");
  met.search = await search.inputValue();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await until(async () => (await here())[1] === "Open the navigation");
  return met;
}

/** The landmarks that the Tab key comes to, from the top of the page until it has been in all that are named. */
async function tabThrough(wanted) {
  await page.evaluate(() => document.activeElement?.blur());
  const landmarks = { NAV: "navigation", HEADER: "banner", MAIN: "main", FOOTER: "contentinfo" };
  const met = new Set();
  await until(async () => {
    await page.keyboard.press("Tab");
    const tag = await page.evaluate(() => document.activeElement?.closest("#root > * > :is(nav, header, main, footer)")?.tagName);
    if (tag) met.add(landmarks[tag]);
    return wanted.every((each) => met.has(each));
  });
  return [...met];
}

await play(SCENARIOS);
