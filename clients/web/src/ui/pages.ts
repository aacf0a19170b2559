// Which page of the console shows a resource.

const OBJECTS = new Set([
  "servers",
  "serverPools",
  "clusters",
  "heartbeatDevices",
  "repositories",
  "virtualDisks",
  "virtualMachines",
  "vnics",
  "networks",
  "images",
]);

/** The address of a resource's page inside the console; undefined for what has none, as a user. */
export function pageOf(name: string): string | undefined {
  const [collection, id] = name.split("/", 2);
  if (!collection || !id) return undefined;
  if (collection === "operations") return `/jobs/${id}`;
  if (collection === "jobs") return `/jobs/${id.split("-")[0]}#${id}`;
  if (collection === "schedules" || collection === "triggers" || collection === "filters") return `/jobs/recurring?show=${encodeURIComponent(name)}`;
  if (collection === "events") return `/events?show=${encodeURIComponent(name)}`;
  if (collection === "locks") return "/locks";
  return OBJECTS.has(collection) ? `/objects/${collection}/${encodeURIComponent(id)}` : undefined;
}

/** The part of a resource name behind its collection. */
export function idOf(name: string): string {
  return name.slice(name.indexOf("/") + 1);
}
