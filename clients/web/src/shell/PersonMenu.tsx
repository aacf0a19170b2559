// Who is signed in, the theme, and the way out.
import { ActionIcon, Menu, Text, useMantineColorScheme } from "@mantine/core";
import { IconDeviceDesktop, IconLogout, IconMoon, IconSun, IconUserCircle, type TablerIcon } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { GatewayService, type Session } from "../api/virtyard/api/gateway/v1/gateway_service_pb";
import { Role } from "../api/virtyard/api/type/v1/annotations_pb";
import { clientOf } from "../client/transport";
import { ConfirmDialog } from "../ui/ConfirmDialog";
import { millisOf, showMoment } from "../ui/moments";
import { useCall } from "../ui/use-call";

const gateway = clientOf(GatewayService);
const SCHEMES: readonly { value: "light" | "dark" | "auto"; label: string; Icon: TablerIcon }[] = [
  { value: "light", label: "Light", Icon: IconSun },
  { value: "dark", label: "Dark", Icon: IconMoon },
  { value: "auto", label: "As the system", Icon: IconDeviceDesktop },
];

export function PersonMenu() {
  const [opened, setOpened] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const session = useSession(opened);
  return (
    <>
      <Menu position="bottom-end" shadow="md" width={240} opened={opened} onChange={setOpened}>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label="Person and theme">
            <IconUserCircle size={20} aria-hidden />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {session && <Who session={session} />}
          <Menu.Divider />
          <Themes />
          <Menu.Divider />
          <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => setLeaving(true)}>
            Sign out
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <SignOutDialog opened={leaving} onClose={() => setLeaving(false)} />
    </>
  );
}

function Who({ session }: { session: Session }) {
  const until = millisOf(session.expireTime);
  const role = Math.max(Role.UNSPECIFIED, ...session.roles) as Role;
  return (
    <div style={{ padding: "6px 12px" }}>
      <Text size="sm" fw={600} component="div" style={{ overflowWrap: "anywhere" }}>
        {session.principal.replace(/^user\//, "")}
      </Text>
      <Text size="xs" c="dimmed" component="div">
        {Role[role].toLowerCase()}
        {until !== undefined && `, signed in until ${showMoment(until)}`}
      </Text>
    </div>
  );
}

function Themes() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <>
      <Menu.Label>Theme</Menu.Label>
      {SCHEMES.map(({ value, label, Icon }) => (
        <Menu.Item
          key={value}
          role="menuitemradio"
          aria-checked={value === colorScheme}
          leftSection={<Icon size={16} aria-hidden />}
          rightSection={value === colorScheme && <Text size="xs">chosen</Text>}
          onClick={() => setColorScheme(value)}
        >
          {label}
        </Menu.Item>
      ))}
    </>
  );
}

/** The session of this browser, asked for while it is to be shown. */
function useSession(wanted: boolean): Session | undefined {
  const [session, setSession] = useState<Session>();
  useEffect(() => {
    if (!wanted) return;
    const abort = new AbortController();
    gateway.getSession({}, { signal: abort.signal }).then(setSession, () => abort.signal.aborted || setSession(undefined));
    return () => abort.abort();
  }, [wanted]);
  return session;
}

function SignOutDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const call = useCall();
  const leave = async (): Promise<void> => {
    const { grantId } = await gateway.getSession({});
    await gateway.revokeGrant({ id: grantId });
  };
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title="Sign out?"
      verb="Sign out"
      call={call}
      // The page is loaded anew, so that nothing of what was shown stays in it.
      onConfirm={() => call.run(leave, () => location.assign("/"))}
    >
      <Text size="sm">
        The session of this browser ends, in all of its tabs. Jobs go on. To come in again takes a new link, which the
        command virtyard console prints.
      </Text>
    </ConfirmDialog>
  );
}
