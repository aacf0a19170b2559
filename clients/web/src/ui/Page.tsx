// The frame of one screen: its title, what stands beside the title, and its content.
import { Group, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";

interface PageProps {
  /** The heading, and the title of the browser's tab. */
  title: string;
  /** A sentence under the heading. */
  lead?: ReactNode;
  /** An icon before the heading. */
  icon?: ReactNode;
  /** Buttons at the far end of the heading's line. */
  actions?: ReactNode;
  children?: ReactNode;
}

export function Page({ title, lead, icon, actions, children }: PageProps) {
  useDocumentTitle(`${title} - Virtyard`);
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-start" gap="sm">
        <Stack gap={2} miw={0}>
          <Group gap="xs" wrap="nowrap" miw={0}>
            {icon}
            <Title order={1} style={{ overflowWrap: "anywhere" }}>
              {title}
            </Title>
          </Group>
          {lead && (
            <Text c="dimmed" size="sm" component="div">
              {lead}
            </Text>
          )}
        </Stack>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}
