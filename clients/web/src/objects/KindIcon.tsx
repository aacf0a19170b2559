// The icon of a kind of object.
import {
  IconAdjustments,
  IconBolt,
  IconBoxMultiple,
  IconCalendarTime,
  IconDatabase,
  IconDeviceDesktop,
  IconDisc,
  IconFileCode,
  IconHeartbeat,
  IconHexagons,
  IconNetwork,
  IconPlug,
  IconServer,
  IconWebhook,
  type TablerIcon,
} from "@tabler/icons-react";
import type { Collection } from "../live";

const ICONS: Readonly<Record<Collection, TablerIcon>> = {
  servers: IconServer,
  serverPools: IconBoxMultiple,
  clusters: IconHexagons,
  heartbeatDevices: IconHeartbeat,
  repositories: IconDatabase,
  virtualDisks: IconDisc,
  virtualMachines: IconDeviceDesktop,
  vnics: IconPlug,
  networks: IconNetwork,
  images: IconFileCode,
  triggers: IconBolt,
  schedules: IconCalendarTime,
  filters: IconAdjustments,
  webhooks: IconWebhook,
};

export function KindIcon({ collection, size = 18 }: { collection: Collection; size?: number }) {
  const Icon = ICONS[collection];
  return <Icon size={size} stroke={1.6} aria-hidden style={{ flex: "none" }} />;
}
