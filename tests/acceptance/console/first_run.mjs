// A newcomer's way by the first-run page: from an empty site to a running machine, whose screen and serial log are seen.
import { readFile } from "node:fs/promises";
import { go, openConsole, seriousFindings } from "./browser.mjs";

const { link, server, agentAddress, repositoryPath, image, nonce, shots } = JSON.parse(process.argv[2]);
const findings = [];
const { page, close } = await openConsole({ link });
const run = () => page.getByRole("button", { name: "Run", exact: true });
const field = (path) => page.locator(`[id="field-${path}"]`);

await go(page, "/first-run");
await isNext("Discover a server");
await look("first steps, empty");
await page.screenshot({ path: `${shots}/first-run-empty.png` });

// What is wrong is shown at its field, and nothing is lost by it.
await page.getByRole("link", { name: "Discover a server" }).click();
await field("server_id").fill("no/such name");
await field("server.agent_address").fill(agentAddress);
await run().click();
await page.locator("[id='field-server_id-error']").waitFor();
if ((await field("server.agent_address").inputValue()) !== agentAddress) throw new Error("what was filled in is lost");
await look("a field that is wrong");
await page.screenshot({ path: `${shots}/form-refused.png` });
await field("server_id").fill(server);
await run().dblclick();
await isNext("Create a server pool");

await page.getByRole("link", { name: "Create a server pool" }).click();
await page.getByRole("button", { name: "Preview" }).click();
await page.getByRole("region", { name: "Plan" }).getByText("Create Server Pool").first().waitFor();
await look("a plan");
await page.screenshot({ path: `${shots}/form-plan.png` });
await run().click();
await isNext("Create a repository");

await page.getByRole("link", { name: "Create a repository" }).click();
await field("repository.path").fill(repositoryPath);
// The answer to what was accepted is lost: asked again, it is the same operation.
const lost = async (route) => {
  await route.fetch();
  await route.abort();
};
await page.route("**/*/CreateRepository", lost, { times: 1 });
await run().click();
await page.getByText("it is never run twice").waitFor();
await run().click();
await isNext("Create a virtual machine");

// An image from this computer: sent by the browser, then imported.
await page.getByRole("link", { name: "Import a disk image" }).click();
const chooser = page.waitForEvent("filechooser");
await page.getByLabel("File", { exact: true }).click();
await (await chooser).setFiles(image);
await page.waitForFunction(() => document.getElementById("field-upload")?.value.startsWith("uploads/"));
await run().click();
await page.locator("#screen").getByRole("link", { name: "images/system" }).waitFor();
await page.screenshot({ path: `${shots}/first-run-half.png`, fullPage: true });

await page.getByRole("link", { name: "Create a virtual machine" }).click();
await field("virtual_machine.memory_bytes").fill("lots");
await run().click();
await page.locator("[id='field-virtual_machine.memory_bytes-error']").getByText("a size such as 512M").waitFor();
await field("virtual_machine.memory_bytes").fill("64M");
await run().click();
await isNext("Start it");

await page.getByRole("link", { name: "Start first" }).click();
await run().click();
await page.getByRole("link", { name: "Open its console" }).click();

// The screen is one that the machine has drawn.
await page.getByText("Connected", { exact: true }).waitFor({ timeout: 30_000 });
await page.waitForFunction(colours, undefined, { timeout: 30_000, polling: 250 });
await look("the console");
await page.screenshot({ path: `${shots}/console-screen.png` });
await page.getByRole("button", { name: "Type into the machine" }).click();
await page.keyboard.press("Control+Alt+G");
await page.waitForFunction(() => document.activeElement?.textContent === "Type into the machine");
await page.getByRole("button", { name: "Disconnect" }).click();
await page.getByText("You disconnected.").waitFor();

await page.getByRole("tab", { name: "Serial log" }).click();
await page.getByRole("log").getByText(nonce).first().waitFor();
await page.getByLabel("Search the log").fill(nonce.toLowerCase());
await page.getByRole("log").locator("mark").first().waitFor();
const download = page.waitForEvent("download");
await page.getByRole("button", { name: "Download" }).click();
const saved = (await readFile(await (await download).path(), "utf8")).slice(0, 4000);
await look("the serial log");
await page.screenshot({ path: `${shots}/console-serial.png` });
await close();
console.log(JSON.stringify({ findings, saved }));

/** In both themes: axe finds nothing serious. */
async function look(where) {
  findings.push(...(await seriousFindings(page, where)));
  await page.emulateMedia({ colorScheme: "dark" });
  findings.push(...(await seriousFindings(page, `${where} in dark`, ["main"], "colours")));
  await page.screenshot({ path: `${shots}/${where.replace(/\W+/g, "-")}-dark.png` });
  await page.emulateMedia({ colorScheme: "light" });
}

/** Waits until the first-run page says that this step is the next one. */
async function isNext(title) {
  await page.locator("[aria-current=step]").getByRole("heading", { name: title }).waitFor({ timeout: 40_000 });
}

/** Whether the canvas of the screen has more than one colour. */
function colours() {
  const canvas = document.querySelector("[role=application] canvas");
  if (!canvas?.width) return false;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let at = 0; at < data.length && seen.size < 2; at += 4) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
  return seen.size > 1;
}
