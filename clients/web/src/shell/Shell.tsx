// What is around every screen: header, navigation, and the Job Summary pane at the bottom.
import { AppShell, Burger, Group, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import type { ReactNode } from "react";

export function Shell({ children }: { children: ReactNode }) {
  const [opened, { toggle }] = useDisclosure(false);
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 300, breakpoint: "sm", collapsed: { mobile: !opened } }}
      footer={{ height: 44 }}
      padding="md"
    >
      <AppShell.Header>
        <Group h="100%" px="sm">
          <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" />
          <Title order={2}>Virtyard</Title>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Navigation" />
      <AppShell.Main>{children}</AppShell.Main>
      <AppShell.Footer />
    </AppShell>
  );
}
