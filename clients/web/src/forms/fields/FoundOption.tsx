// One of the objects that are offered for a field: its name, and what it is about.
import { Group, Text } from "@mantine/core";

export function FoundOption({ name, about }: { name: string; about: string | undefined }) {
  return (
    <Group gap="xs" justify="space-between" wrap="nowrap" w="100%">
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {name}
      </Text>
      <Text size="xs" c="dimmed">
        {about}
      </Text>
    </Group>
  );
}
