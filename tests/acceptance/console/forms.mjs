// The form of every operation type, opened in a real browser with everything unfolded; axe finds nothing serious.
import { go, openConsole, seriousFindings } from "./browser.mjs";

const { link, operations, dark, doomed, shots } = JSON.parse(process.argv[2]);
const findings = [];
const said = [];

const { page, close } = await openConsole({ link });
for (const { name, title, object } of operations) {
  await go(page, `/run/${name}${object ? `?object=${encodeURIComponent(object)}` : ""}`);
  const form = page.getByRole("form", { name: title, exact: true });
  await form.waitFor();
  await unfold(form);
  // All forms are made of the same widgets, so that their colours need be looked at in some forms only.
  findings.push(...(await seriousFindings(page, name, ["main"], dark.includes(name) ? "everything" : "structure")));
  const fields = await form.locator("input:not([type=hidden]), textarea, fieldset").count();
  const json = await form.getByText("Written as JSON.").count();
  said.push({ name, fields, json });
  if (dark.includes(name)) {
    await page.emulateMedia({ colorScheme: "dark" });
    findings.push(...(await seriousFindings(page, `${name} in dark`, ["main"], "colours")));
    await page.screenshot({ path: `${shots}/form-${name}-dark.png` });
    await page.emulateMedia({ colorScheme: "light" });
    await page.screenshot({ path: `${shots}/form-${name}.png` });
    await page.setViewportSize({ width: 390, height: 844 });
    findings.push(...(await seriousFindings(page, `${name} on a phone`)));
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) findings.push(`${name} on a phone: the page is ${over} pixels too wide`);
    await page.screenshot({ path: `${shots}/form-${name}-390.png` });
    await page.setViewportSize({ width: 1280, height: 900 });
  }
}

// What destroys something is asked about once more, with its plan, and nothing is done if the answer is no.
await go(page, `/run/DeleteVirtualMachine?object=${encodeURIComponent(doomed)}`);
await page.getByRole("button", { name: "Run..." }).click();
const question = page.getByRole("dialog", { name: "Delete Virtual Machine?" });
await question.getByText("no way back").first().waitFor();
findings.push(...(await seriousFindings(page, "the last question", ["[role=dialog]"])));
await page.screenshot({ path: `${shots}/form-question.png` });
await question.getByRole("button", { name: "Cancel" }).click();
await question.waitFor({ state: "detached" });

await close();
console.log(JSON.stringify({ findings, said }));

/** Opens what is folded away, and adds an item to every list, so that each widget is on the page. */
async function unfold(form) {
  await form.evaluate(async (element) => {
    const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    for (const wanted of [/^Advanced$/, /^Add /, /^Advanced$/]) {
      for (const button of element.querySelectorAll("button:not([aria-expanded=true])")) {
        if (wanted.test(button.textContent)) button.click();
      }
      await drawn();
    }
  });
}
