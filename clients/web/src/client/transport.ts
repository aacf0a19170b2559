// The console's one connection to the control plane: the gateway that served this page.
import { createClient, type Client } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import type { DescService } from "@bufbuild/protobuf";

const transport = createConnectTransport({ baseUrl: window.location.origin, useBinaryFormat: true });

/** A client of one public service, from its generated descriptor. */
export function clientOf<S extends DescService>(service: S): Client<S> {
  return createClient(service, transport);
}
