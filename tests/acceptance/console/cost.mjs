// What it costs a page while something is done: processor time, elements that come, and tasks so long that a person feels them.

/**
 * Returns a function that does something several times, and says of the cheapest time:
 * `cpu`, milliseconds of processor time of the page's main thread, which other processes do not add to;
 * `added`, elements that were put under `selector`;
 * `tasks`, `blocked` and `longest`: tasks of more than 50 ms by the wall's clock, their sum and the longest, in milliseconds.
 */
export async function measuring(page, selector) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
  await page.evaluate(() => {
    window.longTasks = [];
    new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
  });

  async function busy() {
    const { metrics } = await devtools.send("Performance.getMetrics");
    return 1000 * metrics.find((each) => each.name === "TaskDuration").value;
  }

  async function once(doing) {
    await page.evaluate((root) => {
      window.added = 0;
      window.watcher = new MutationObserver((records) => records.forEach((record) => (window.added += record.addedNodes.length)));
      window.watcher.observe(document.querySelector(root), { childList: true, subtree: true });
    }, selector);
    await page.evaluate(() => new Promise((resolve) => requestIdleCallback(resolve)));
    await page.evaluate(() => (window.longTasks.length = 0));
    const before = await busy();
    await doing();
    const cpu = (await busy()) - before;
    return page.evaluate((spent) => {
      window.watcher.disconnect();
      const tasks = window.longTasks;
      return { cpu: spent, added: window.added, tasks: tasks.length, blocked: tasks.reduce((sum, each) => sum + each, 0), longest: Math.max(0, ...tasks) };
    }, cpu);
  }

  return async function cost(doing, times = 3) {
    const found = [];
    for (let time = 0; time < times; time += 1) found.push(await once(doing));
    return found.reduce((best, each) => (each.cpu < best.cpu ? each : best));
  };
}
