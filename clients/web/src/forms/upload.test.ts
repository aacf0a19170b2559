// A file is sent as Connect's stream of messages: a header with its size, then all of its bytes in their order.
import { fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { UploadRequestSchema, UploadResponseSchema, type UploadRequest } from "../api/virtyard/api/inventory/v1/upload_service_pb";
import { answerOf, bodyOf } from "./upload";

function messages(bytes: Uint8Array): UploadRequest[] {
  const found: UploadRequest[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = new DataView(bytes.buffer, at + 1, 4).getUint32(0);
    expect(bytes[at]).toBe(0);
    found.push(fromBinary(UploadRequestSchema, bytes.subarray(at + 5, at + 5 + length)));
    at += 5 + length;
  }
  return found;
}

test("the body has the size first and the bytes after it", async () => {
  const content = Uint8Array.from({ length: (1 << 20) + 300 }, (_, index) => index % 251);
  const sent = messages(new Uint8Array(await bodyOf(new Blob([content])).arrayBuffer()));
  expect(sent.map((message) => message.part.case)).toEqual(["header", "data", "data"]);
  expect(sent[0]!.part.value).toMatchObject({ sizeBytes: BigInt(content.length) });
  const data = Buffer.concat(sent.slice(1).map((message) => message.part.value as Uint8Array));
  expect(data.equals(content)).toBe(true);
});

function framed(flags: number, content: Uint8Array): Uint8Array {
  const head = new Uint8Array(5);
  head[0] = flags;
  new DataView(head.buffer).setUint32(1, content.length);
  return new Uint8Array([...head, ...content]);
}

test("the answer is the message of the stream, unless its end says what is wrong", () => {
  const answer = toBinary(UploadResponseSchema, create(UploadResponseSchema, { name: "uploads/1" }));
  const text = new TextEncoder();
  expect(answerOf(new Uint8Array([...framed(0, answer), ...framed(2, text.encode("{}"))])).name).toBe("uploads/1");
  const refused = framed(2, text.encode('{"error":{"code":"resource_exhausted","message":"the disk is full"}}'));
  expect(() => answerOf(refused)).toThrow("the disk is full");
});
