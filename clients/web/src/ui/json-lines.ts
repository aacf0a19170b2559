// Files of JSON lines: a message a line, in the proto's own JSON form.
import { toJsonString, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { DETAILS } from "./problem";

/** Read a stream of messages to its end, as a file of JSON lines. */
export async function jsonLines<Desc extends DescMessage>(schema: Desc, stream: AsyncIterable<MessageShape<Desc>>): Promise<Blob> {
  const lines: string[] = [];
  for await (const message of stream) lines.push(`${toJsonString(schema, message, { registry: DETAILS })}\n`);
  return new Blob(lines, { type: "application/x-ndjson" });
}

/** Let the browser save a file. */
export function saveAs(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
