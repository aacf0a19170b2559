// Which screen shows a resource, and which names have none.

const AUTOMATION = new Set(["schedules", "triggers", "filters", "webhooks"]);
const NO_PAGE = new Set(["user", "service", "agent", "capacity"]);

/** The address of a resource inside the console; undefined for what has no screen, as user/ann. */
export function pageOf(name: string): string | undefined {
  const [collection, id] = name.split("/", 2);
  // Other names have their slashes too, as the key of a step.
  if (!collection || !id || !/^[a-z][A-Za-z]*$/.test(collection) || NO_PAGE.has(collection)) return undefined;
  if (AUTOMATION.has(collection)) return `/jobs/recurring?show=${encodeURIComponent(name)}`;
  switch (collection) {
    case "operations":
      return `/jobs/${id}`;
    case "jobs":
      return `/jobs/${id.split("-")[0]}?job=${encodeURIComponent(id)}`;
    case "events":
      return `/events?event=${encodeURIComponent(id)}`;
    case "locks":
      return "/locks";
    default:
      return `/objects/${collection}/${encodeURIComponent(id)}`;
  }
}
