// The export of events as a file, as `virtyard event export` has them.
import { ExportEventsResponseSchema } from "../api/virtyard/api/inventory/v1/inventory_service_pb";
import { inventory } from "../client/services";
import { jsonLines } from "../ui/json-lines";

/** Read every event that a filter lets pass, live and archived, as JSON lines. */
export function exportEvents(filter: string): Promise<Blob> {
  return jsonLines(ExportEventsResponseSchema, inventory.exportEvents({ filter }));
}
