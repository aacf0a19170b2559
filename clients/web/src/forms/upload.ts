// Sending a file: Connect's stream of messages as one body, which the browser reads from the disk piece by piece.
//
// Connect's own client cannot stream requests from a browser; the format of the stream is that of
// https://connectrpc.com/docs/protocol#streaming-rpcs: five bytes, flags and length, before each message.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  UploadHeaderSchema,
  UploadRequestSchema,
  UploadResponseSchema,
  UploadService,
  type UploadResponse,
} from "../api/virtyard/api/inventory/v1/upload_service_pb";

const PART = 1 << 20;
const TAG_OF_DATA = (2 << 3) | 2;
const END = 2;

/** Sends a file, and says how much of it is on its way, from 0 to 100. */
export function upload(file: File, told: (percent: number) => void, signal: AbortSignal): Promise<UploadResponse> {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", `/${UploadService.typeName}/${UploadService.method.upload.name}`);
    call.responseType = "arraybuffer";
    call.setRequestHeader("content-type", "application/connect+proto");
    call.setRequestHeader("connect-protocol-version", "1");
    call.upload.onprogress = (event) => told(event.total ? (100 * event.loaded) / event.total : 0);
    call.onerror = () => reject(new ConnectError("the connection was lost while the file was sent", Code.Unavailable));
    call.onabort = () => reject(new ConnectError("it was stopped", Code.Canceled));
    call.onload = () => {
      try {
        resolve(answerOf(new Uint8Array(call.response as ArrayBuffer)));
      } catch (error) {
        reject(ConnectError.from(error));
      }
    };
    signal.addEventListener("abort", () => call.abort());
    call.send(bodyOf(file));
  });
}

/** The messages of the stream: a header with the size, and the file in parts. */
export function bodyOf(file: Blob): Blob {
  const header = create(UploadHeaderSchema, { sizeBytes: BigInt(file.size) });
  const first = toBinary(UploadRequestSchema, create(UploadRequestSchema, { part: { case: "header", value: header } }));
  const parts: BlobPart[] = [envelope(first.length), new Uint8Array(first)];
  for (let begin = 0; begin < file.size; begin += PART) {
    const piece = file.slice(begin, begin + PART);
    const tag = new Uint8Array([TAG_OF_DATA, ...varint(piece.size)]);
    parts.push(envelope(tag.length + piece.size), tag, piece);
  }
  return new Blob(parts);
}

/** The one message that came back; what the end of the stream says is wrong is thrown. */
export function answerOf(bytes: Uint8Array): UploadResponse {
  let answer: UploadResponse | undefined;
  let at = 0;
  while (at + 5 <= bytes.length) {
    const flags = bytes[at]!;
    const length = new DataView(bytes.buffer, bytes.byteOffset + at + 1, 4).getUint32(0);
    const message = bytes.subarray(at + 5, at + 5 + length);
    if (flags & END) throwIfRefused(new TextDecoder().decode(message));
    else answer = fromBinary(UploadResponseSchema, message);
    at += 5 + length;
  }
  if (!answer) throw new ConnectError(new TextDecoder().decode(bytes) || "no answer came", Code.Unknown);
  return answer;
}

function throwIfRefused(end: string): void {
  const { error } = JSON.parse(end) as { error?: { code?: string; message?: string } };
  if (!error) return;
  throw new ConnectError(error.message ?? "it was refused", CODES[error.code ?? ""] ?? Code.Unknown);
}

const CODES: Record<string, Code> = {
  invalid_argument: Code.InvalidArgument,
  permission_denied: Code.PermissionDenied,
  resource_exhausted: Code.ResourceExhausted,
  unauthenticated: Code.Unauthenticated,
  unavailable: Code.Unavailable,
};

function envelope(length: number): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(5);
  new DataView(head.buffer).setUint32(1, length);
  return head;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  return [...bytes, rest];
}
