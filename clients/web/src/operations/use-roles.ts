// The roles of who is signed in, asked of the gateway once for this tab.
import { useEffect, useState } from "react";
import { GatewayService } from "../api/virtyard/api/gateway/v1/gateway_service_pb";
import type { Role } from "../api/virtyard/api/type/v1/annotations_pb";
import { clientOf } from "../client/transport";

const gateway = clientOf(GatewayService);
let asking: Promise<readonly Role[]> | undefined;

/** The roles once they are known; undefined before, and while the gateway cannot be asked. */
export function useRoles(): readonly Role[] | undefined {
  const [roles, setRoles] = useState<readonly Role[]>();
  useEffect(() => {
    let left = false;
    asking ??= gateway.getSession({}).then((session) => session.roles);
    asking.then(
      (found) => !left && setRoles(found),
      () => {
        // The next one who wants to know asks anew.
        asking = undefined;
      },
    );
    return () => {
      left = true;
    };
  }, []);
  return roles;
}
