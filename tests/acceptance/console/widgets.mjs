// Forms filled in by their widgets, by mouse and by keys: what is wrong is said at its field, the plan is shown, then it is run.
import { go, openConsole } from "./browser.mjs";

const { link, shared, iso, shots } = JSON.parse(process.argv[2]);
const { page, close } = await openConsole({ link });
const said = {};
const field = (path) => page.locator(`[id="field-${path}"]`);
const group = (name) => page.getByRole("group", { name, exact: true });
const button = (name, within = page) => within.getByRole("button", { name, exact: true });
const plan = page.getByRole("region", { name: "Plan" });

try {
  await createPool();
  await createMachine();
  await labelMachine();
  await createSchedule();
  await chooseSource();
} catch (error) {
  await page.screenshot({ path: `${shots}/widgets-failed.png`, fullPage: true });
  throw error;
}
await close();
console.log(JSON.stringify({ said }));

/** Waits until a field is said to be wrong, with these words, and has the focus; then writes over what is in it. */
async function putRight(path, words, text) {
  await page.locator(`[id="field-${path}-error"]`).getByText(words).waitFor();
  await hasFocus(path);
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type(text);
}

/** Finds an object for the field that has the focus, by a part of its name and the keys alone. */
async function pick(part, name) {
  await page.keyboard.type(part);
  const option = page.getByRole("option", { name });
  await option.waitFor();
  // Down until it is the one that Enter takes; the first may be it already.
  while ((await option.getAttribute("data-combobox-selected")) === null) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
}

/** Waits until a field has the focus. */
async function hasFocus(path) {
  await page.waitForFunction((id) => document.activeElement?.id === id, `field-${path}`);
}

/** Picks one of a few values. */
async function choose(path, value) {
  await field(path).click();
  await page.getByRole("option", { name: value }).click();
}

/** Has the plan shown, and returns what it says under each of its headings. */
async function preview() {
  await button("Preview").click();
  await plan.getByRole("heading", { name: "Locks" }).waitFor();
  return plan.evaluate((section) =>
    Object.fromEntries([...section.querySelectorAll("h3")].map((heading) => [heading.innerText, heading.nextElementSibling.innerText.replace(/\s+/g, " ")])),
  );
}

/** Runs what is in the form, and waits for the page of what was made. */
async function run(made, title) {
  await button("Run").click();
  await page.getByRole("form").waitFor({ state: "detached" });
  await go(page, `/objects/${made}`);
  await page.getByRole("heading", { name: title, exact: true }).waitFor();
}

/** A name that is missing, servers found by a part of their names, and a box that is ticked. */
async function createPool() {
  await go(page, "/run/CreateServerPool");
  await button("Preview").click();
  await putRight("server_pool_id", "is required", "accounts");
  await field("servers").click();
  await pick("s2", "servers/s2");
  await pick("s1", "servers/s1");
  await page.keyboard.press("Backspace");
  await pick("s3", "servers/s3");
  await page.keyboard.press("Escape");
  await field("server_pool.clustered").focus();
  await page.keyboard.press("Space");
  await field("heartbeat_device.path").fill(`${shared}/accounts.heartbeat`);
  await field("heartbeat_device.io_timeout_seconds").fill("1s");
  said.pool = await preview();
  await run("serverPools/accounts", "accounts");
}

/** A size that is none, two disks of which the second becomes the first, a card, and a boot order. */
async function createMachine() {
  await go(page, "/run/CreateVirtualMachine");
  await field("virtual_machine_id").fill("ledger");
  await field("virtual_machine.server_pool").focus();
  await pick("poo", "serverPools/pool");
  // Once more by accident: it is picked already, and nothing is run by that.
  await page.evaluate(() => addEventListener("submit", () => (window.submitted = true), true));
  await page.keyboard.press("Enter");
  said.submitted = await page.evaluate(() => window.submitted ?? false);
  await field("virtual_machine.memory_bytes").fill("lots");
  await field("virtual_machine.cpus").fill("2");
  for (const [number, size] of [[1, "8M"], [2, "16M"]]) {
    await button("Add disk", group("Disks")).press("Enter");
    await hasFocus(`disks[${number - 1}].virtual_disk_id`);
    await page.keyboard.press("Tab");
    await pick("sha", "repositories/shared");
    await page.keyboard.press("Tab");
    await page.keyboard.type(size);
  }
  await choose(`disks[1].allocation`, "Full");
  await button("Move Disk 2 up", group("Disks")).press("Enter");
  await button("Add VNIC", group("VNICs")).click();
  await choose("vnics[0].network", "User");
  await button("Add boot device").press("Enter");
  await choose("virtual_machine.boot.boot_order[0]", "Disk");
  await button("Add boot device").press("Enter");
  await button("Remove Boot device 2").press("Enter");
  await button("Add boot device").and(page.locator(":focus")).waitFor();
  await button("Preview").click();
  await putRight("virtual_machine.memory_bytes", "a size such as 512M", "64M");
  await page.getByText("64M is 64 MiB.").waitFor();
  said.machine = await preview();
  await run("virtualMachines/ledger", "ledger");
}

/** A label whose key is there twice, and is made another one. */
async function labelMachine() {
  await go(page, "/objects/virtualMachines/ledger");
  await page.locator("[data-operation-type=UpdateVirtualMachine]").click();
  await page.getByRole("form", { name: "Update Virtual Machine" }).waitFor();
  for (const number of [1, 2]) {
    await button("Add label").press("Enter");
    await page.getByLabel(`Key of label ${number}`).and(page.locator(":focus")).waitFor();
    await page.keyboard.type("team");
    await page.keyboard.press("Tab");
    await page.keyboard.type(`value ${number}`);
  }
  await button("Preview").click();
  await page.getByText("the key team is there twice").waitFor();
  await page.getByLabel("Key of label 2").and(page.locator(":focus")).waitFor();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("cost");
  said.labels = await preview();
  await run("virtualMachines/ledger", "ledger");
}

/** When, in which zone, with what delay, and the form of another operation within this one. */
async function createSchedule() {
  await go(page, "/run/CreateSchedule");
  await field("schedule_id").fill("nightly");
  await field("schedule.cron").fill("61 2 * * *");
  await field("schedule.time_zone").fill("Europe/Vienna");
  await field("schedule.jitter_seconds").fill("a while");
  await choose("schedule.overlap", "Queue");
  await field("schedule.request").click();
  await page.keyboard.type("stop virt");
  await page.getByRole("option", { name: "Stop Virtual Machine" }).waitFor();
  await page.keyboard.press("Enter");
  const request = group("Request");
  await request.getByLabel("Virtual machine").focus();
  await pick("ledg", "virtualMachines/ledger");
  await button("Preview").click();
  await putRight("schedule.jitter_seconds", "a span of time such as 30s", "5m");
  await button("Preview").click();
  await putRight("schedule.cron", "61", "30 2 * * *");
  said.schedule = await preview();
  await page.screenshot({ path: `${shots}/widgets-schedule.png` });
  await run("schedules/nightly", "nightly");
}

/** Where bytes come from: one of several, by the arrows; what was said of the other is not sent. */
async function chooseSource() {
  await go(page, "/run/ImportImage");
  await field("image_id").fill("rescue");
  await field("image.repository").focus();
  await pick("sha", "repositories/shared");
  await choose("image.format", "ISO");
  await page.getByRole("radio", { name: "None" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await field("upload").fill("uploads/none");
  await page.getByRole("radio", { name: "Upload" }).focus();
  await page.keyboard.press("ArrowLeft");
  await field("upload").waitFor({ state: "detached" });
  await button("Preview").click();
  await putRight("server_path", "is required", iso);
  said.image = await preview();
}
