// Calls of methods that were found in the descriptor, not in generated code.
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { clientOf } from "../client/transport";

type Call = (request: Message, options: { signal?: AbortSignal }) => Promise<Message>;

/** Calls a method that takes one message and answers with one. */
export function callUnary(method: DescMethod, request: Message, signal?: AbortSignal): Promise<Message> {
  const client = clientOf(method.parent) as Record<string, Call>;
  return client[method.localName]!(request, signal ? { signal } : {});
}
